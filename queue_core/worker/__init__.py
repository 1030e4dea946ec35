"""The worker: one process that claims jobs, has its keeper run them, and settles how they ended.

`loop` decides, `commands` holds what is claimed until it has ended, `link` is a connection to a keeper,
`strays` the claims that no keeper tells of, `requests` what a keeper is asked for, `janitor` the
housekeeping, `boot` how a server starts a worker, `main` the process.
"""
