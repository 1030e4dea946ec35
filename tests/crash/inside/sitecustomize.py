"""What makes a process of the harness one that can die at a point: only the harness has this folder on PYTHONPATH."""

from tests.crash import points

points.enter()
