"""The worker: one process that claims jobs, has its keeper run them, and settles how they ended.

`loop` is the worker itself, `link` its connection to a keeper, `strays` the claims whose keeper is not
(or no longer) connected, `janitor` the housekeeping, `boot` how a server starts one, `main` the process.
"""
