"""What queueing one job costs as a whole process, beside the same interpreter doing nothing.

Runs `runq add -- true`, `runq hook -- true` and `python -I -S -c pass` in turn, so that the machine's
moods hit all alike, and prints medians and the median of the ratios run by run.

    python benchmarks/add.py [RUNS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

BIN = os.path.dirname(sys.executable)
PAYLOAD = json.dumps({"session_id": "bench", "hook_event_name": "Stop", "cwd": "/", "stop_hook_active": False}).encode()
COMMANDS = {
    "python -I -S -c pass": [sys.executable, "-I", "-S", "-c", "pass"],
    "runq add -- true": [f"{BIN}/runq", "add", "--", "true"],
    "runq hook -- true": [f"{BIN}/runq", "hook", "--", "true"],
}


def once(command: list[str], env: dict[str, str], payload: str) -> float:
    """Seconds of wall time from spawn to exit."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, payload, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    began = time.perf_counter()
    pid = os.posix_spawn(command[0], command, env, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed with wait status {status}")
    return time.perf_counter() - began


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home, "RUNQ_HOME": f"{home}/queue"}
        payload = f"{home}/payload.json"
        with open(payload, "wb") as file:
            file.write(PAYLOAD)
        for command in COMMANDS.values():
            once(command, env, payload)  # caches, database
        rounds = [{name: once(command, env, payload) for name, command in COMMANDS.items()} for _ in range(runs)]
        assert (
            subprocess.run([f"{BIN}/runq", "health"], env=env, stdout=subprocess.DEVNULL, check=False).returncode == 0
        )
    bare = next(iter(COMMANDS))
    print(f"{'':24}{'median':>10}{'ratio':>8}")
    for name in COMMANDS:
        median = statistics.median(one[name] for one in rounds) * 1000
        ratio = statistics.median(one[name] / one[bare] for one in rounds)
        print(f"{name:24}{median:>7.1f} ms{ratio:>8.2f}")


if __name__ == "__main__":
    main()
