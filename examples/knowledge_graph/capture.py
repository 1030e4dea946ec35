"""Queue a document for the graph from a program: a git hook, an editor's plugin. capture.py TITLE FILE [TAG...]

On a terminal it says what it has queued; under a client's hook it is silent. It finds that out by itself.
"""

import sys

from queue_core import QueueError, enqueue

title, file, *tags = sys.argv[1:]
try:
    # Becomes `graph add FILE --title TITLE --tag A --tag B`, and `--private` for a diary.
    flags = {"title": title, "tag": tags, "private": title.startswith("diary")}
    enqueue(["graph", "add", file], kwargs=flags, queue="graph")
except QueueError as error:
    sys.exit(f"not queued: {error}")
