"""Every benchmark of runq, each beside its floor and its peers: `make bench`, or `python -m benchmarks`.

Nothing outside this package imports it. A benchmark is a module with `TITLE` and `run(how) -> Result`.
"""
