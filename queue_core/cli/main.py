"""The console script `runq`. It loads as little as it can before it knows what is wanted."""

from __future__ import annotations

import sys

FAST_VERBS = ("add", "hook")


def main() -> int:
    """Run `runq` with the process's arguments. Exit codes: 0 fine, 1 the thing asked for failed, 2 usage."""
    if sys.argv[1:2] and sys.argv[1] in FAST_VERBS:
        from queue_core.cli import bundle

        bundle.load(sys.argv[1])
    from queue_core.cli.dispatch import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
