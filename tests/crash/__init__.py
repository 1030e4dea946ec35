"""The crash harness: every part is killed, at random and at named points, and what came of each job is judged.

Read it in this order: `job` is what the queue runs, `points` where a process dies, `world` one home and its
processes, `clients` the ways in, `nemeses` what is done to them all, `storm` puts these together, `witness` judges.
`python -m tests.crash --help` says how to run it.
"""
