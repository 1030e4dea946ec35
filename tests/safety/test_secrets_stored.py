"""With real workers: what a command writes is masked on disk, in the database and wherever it is shown."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from typing import cast

import pytest

from queue_core import outcomes
from queue_core.secret_shapes import mask
from tests.helpers import wait_until
from tests.mcp.places import Place
from tests.mcp.servers import Server
from tests.worker.conftest import CLI, PATIENCE, Rig

GITHUB = "ghp_" + "aB3dE6gH9" * 4
ANTHROPIC = "sk-ant-api03-" + "Zx9-" * 10
OWN = "hunter2-hunter2"
SECRETS = (GITHUB[5:], ANTHROPIC[8:], OWN, "uTqE9xYzKq")
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCB\nuTqE9xYzKqLq\n-----END PRIVATE KEY-----"
TELLS = f"""
echo "token {GITHUB} end"
echo "export MY_API_KEY={ANTHROPIC}"
echo "mine is $SITE_PASSWORD."
echo '{KEY}'
echo "at {GITHUB}" >> $RUNQ_PROGRESS
"""


class Seen:
    """The server in a rig's home, as `Server` wants it."""

    def __init__(self, rig: Rig) -> None:
        self.environ = {**rig.env, "CLAUDE_PROJECT_DIR": str(rig.folder)}
        self.project = rig.folder


def tells(rig: Rig, more: str = "") -> int:
    """A command that writes secrets; its arguments, which are shown, hold none."""
    script = rig.folder / "tells.sh"
    script.write_text(TELLS + more)
    return rig.add("--env", f"SITE_PASSWORD={OWN}", "--retries", "0", "--", "sh", str(script))


def database(rig: Rig) -> str:
    """Everything that the database holds of attempts."""
    with closing(sqlite3.connect(rig.home / "runq.db", timeout=PATIENCE)) as connection:
        return repr(connection.execute("SELECT * FROM attempts").fetchall())


def through_mcp(rig: Rig, job: int) -> str:
    """What an agent is shown."""
    with Server(cast("Place", Seen(rig))) as server:
        server.shake_hands()
        shown = [server.call("output", job_id=job), server.call("output", job_id=job, grep="token")]
        shown.append(server.call("status", job_id=job))
        shown += [server.ask("resources/read", uri=f"queue://jobs/{job}{end}") for end in ("", "/output")]
        return json.dumps(shown)


def shown(rig: Rig, job: int) -> dict[str, str]:
    """All that there is to see, by where."""
    return {
        "status": rig.runq("status", str(job), "--json").stdout,
        "status in words": rig.runq("status", str(job)).stdout,
        "output": rig.output(job),
        "output --tail": rig.output(job, "--tail", "3"),
        "output --json": rig.output(job, "--json"),
        "list": rig.runq("list", "--json").stdout,
        "mcp": through_mcp(rig, job),
        "log": rig.log(),
    }


def stored(rig: Rig, job: int) -> dict[str, str]:
    return {"file": (rig.run_dir(job) / "output").read_text(), "database": database(rig)}


def leaks(places: dict[str, str]) -> list[tuple[str, str]]:
    return [(where, secret) for where, text in places.items() for secret in SECRETS if secret in text]


def test_nobody_is_shown_a_secret_while_it_runs_nor_afterwards(rig: Rig) -> None:
    gate = rig.gate()
    rig.worker()
    job = tells(rig, gate.wait)
    wait_until(lambda: "END PRIVATE KEY" in rig.output(job), "it has told", PATIENCE)
    following = subprocess.Popen(
        [*CLI, "output", str(job), "--follow"], env=rig.env, cwd=rig.folder, stdout=subprocess.PIPE, text=True
    )
    assert following.stdout is not None
    first = following.stdout.readline()
    during = shown(rig, job)
    assert leaks({**during, "first": first}) == []
    assert "ghp_*" in first and json.loads(during["status"])["progress"] == "at ghp_" + "*" * 36
    gate.open()
    rig.reaches(job, "succeeded")
    rest = following.stdout.read()
    following.communicate(timeout=PATIENCE)
    assert leaks({**shown(rig, job), **stored(rig, job), "followed": rest}) == []
    text = stored(rig, job)["file"]
    assert text.startswith(f"token ghp_{'*' * 36} end\nexport MY_API_KEY=sk-a*")
    assert text.count("\n") == 7
    assert rig.job(job).attempts[0].output_bytes == len(text)
    assert first + rest == text == rig.output(job)


def test_the_second_half_of_a_token_is_masked_when_only_that_is_read(rig: Rig) -> None:
    gate, middle = rig.gate("end"), rig.gate("middle")
    rig.worker()
    job = rig.sh(f"printf '{GITHUB[:20]}'; {middle.wait}; printf '{GITHUB[20:]}\\n'; {gate.wait}")
    wait_until(lambda: (rig.run_dir(job) / "output").exists() and len(rig.output(job)) == 20, "half of it", PATIENCE)
    assert rig.output(job) == "ghp_" + "*" * 16
    following = rig.start("output", str(job), "--follow")
    assert following.popen.stdout is not None
    assert following.popen.stdout.read(20) == "ghp_" + "*" * 16
    middle.open()
    assert following.popen.stdout.readline() == "*" * 20 + "\n"
    gate.open()
    following.left()


@pytest.mark.parametrize("settled_by", ["status", "heir"])
def test_a_killed_workers_output_is_masked_by_whoever_settles_it(rig: Rig, settled_by: str) -> None:
    gate = rig.gate()
    worker = rig.worker()
    job = tells(rig, gate.wait)
    wait_until(lambda: "END PRIVATE KEY" in rig.output(job), "it has told", PATIENCE)
    worker.kill()
    if settled_by == "heir":
        heir = rig.worker()
        wait_until(
            lambda: {one.worker for one in rig.queue.store.running()} <= set(rig.queue.live_workers()), "adopted"
        )
        assert heir.popen.poll() is None
    gate.open()

    def over() -> bool:
        if settled_by == "status":
            rig.status(job)
        return rig.state(job) == "succeeded"

    wait_until(over, "it is settled", PATIENCE)
    assert leaks({**stored(rig, job), "output": rig.output(job), "status": json.dumps(rig.status(job))}) == []


def test_a_lost_commands_output_is_masked(rig: Rig) -> None:
    worker = rig.worker()
    job = tells(rig, "sleep 60")
    wait_until(lambda: "END PRIVATE KEY" in rig.output(job), "it has told", PATIENCE)
    pid = rig.pid_of(job)
    worker.kill()
    rig.kill_keepers()
    os.killpg(pid, signal.SIGKILL)
    wait_until(lambda: rig.status(job)["state"] == "dead", "it is settled", PATIENCE)
    assert rig.outcomes(job) == [("lost", None)]
    assert leaks({**stored(rig, job), "status": json.dumps(rig.status(job))}) == []


def test_a_long_output_is_masked_and_holds_nobody_up(rig: Rig) -> None:
    rig.worker("--parallelism", "4")
    line = f"{GITHUB} and {'x' * 200}"
    long = rig.sh(f"yes '{line}' | head -c 6000000; echo end", "--env", f"SITE_PASSWORD={OWN}")
    short = [rig.sh(f"echo {GITHUB}") for _ in range(3)]
    for job in [*short, long]:
        rig.reaches(job, "succeeded")
    content = (rig.run_dir(long) / "output").read_bytes()
    assert content == mask((f"{line}\n" * 26000).encode())[:6_000_000] + b"end\n"
    assert rig.job(long).attempts[0].tail == content[-outcomes.TAIL :]
    assert leaks({"database": database(rig)}) == []


def test_a_user_who_wants_it_kept_has_it_kept(rig: Rig) -> None:
    (rig.home / "config.toml").write_text('output_secrets = "keep"\n')
    job = tells(rig)
    rig.drain()
    for where, text in {**stored(rig, job), "output": rig.output(job), "status": json.dumps(rig.status(job))}.items():
        assert GITHUB in text, where


REPLACED = {
    "a link": "ln -sf {precious} {output}",
    "a hard link": "ln -f {precious} {output}",
    "a pipe": "rm {output}; mkfifo {output}",
    "a folder": "rm {output}; mkdir {output}",
    "nothing": "rm {output}",
}


def test_what_a_command_puts_in_its_outputs_place_is_neither_followed_nor_waited_for(rig: Rig) -> None:
    precious = rig.folder / "precious"
    precious.write_text(f"my own {GITHUB}\n")
    jobs: dict[str, int] = {}
    for what, how in REPLACED.items():
        place = 'o="$RUNQ_HOME/runs/$RUNQ_JOB_ID/$RUNQ_CLAIM/output"; '
        progress = 'p="$RUNQ_PROGRESS"; mkfifo "$p"; ' if what == "a pipe" else 'ln -s {precious} "$RUNQ_PROGRESS"; '
        jobs[what] = rig.sh((place + progress + how).format(precious=precious, output='"$o"'), "--retries", "0")
    rig.drain()
    for what, job in jobs.items():
        assert rig.state(job) == "succeeded", what
        assert GITHUB[5:] not in rig.output(job) + json.dumps(rig.status(job)), what
        assert "my own" not in rig.output(job) or what == "a hard link", what
    assert precious.read_text() == f"my own {GITHUB}\n"


def test_a_planted_input_file_is_neither_followed_nor_waited_for(rig: Rig) -> None:
    """The first attempt puts things where the second one's input will lie."""
    precious = rig.folder / "precious"
    precious.write_text("precious")
    script = (
        'cat; d="$RUNQ_HOME/runs/$RUNQ_JOB_ID"; [ $RUNQ_CLAIM -gt 3 ] && exit 0;'
        f' case $RUNQ_CLAIM in 1) ln -s {precious} "$d/2.stdin";; 2) ln {precious} "$d/3.stdin";;'
        ' 3) mkfifo "$d/4.stdin";; esac; exit 1'
    )
    job = rig.add("--stdin", "-", "--", "sh", "-c", script, input="the input")
    rig.worker()
    rig.reaches(job, "succeeded")
    assert [(rig.run_dir(job, claim) / "output").read_text() for claim in (1, 2, 3, 4)] == ["the input"] * 4
    assert precious.read_text() == "precious"


def test_a_handlers_output_and_error_are_masked_and_its_result_is_not(rig: Rig) -> None:
    program = rig.folder / "program.py"
    program.write_text(
        "from queue_core import get_queue\n"
        "queue = get_queue()\n"
        f"TOKEN_OF_MINE = {GITHUB!r}\n"
        "@queue.handler('fails')\n"
        "def fails(context):\n"
        "    context.log(TOKEN_OF_MINE)\n"
        "    raise ValueError('no good: ' + TOKEN_OF_MINE)\n"
        "@queue.handler('returns')\n"
        "def returns(context):\n"
        "    return TOKEN_OF_MINE\n"
    )
    failed = rig.add("--handler", "fails", "--retries", "0")
    returned = rig.add("--handler", "returns")
    rig.runq(
        "work", "--until-empty", "--app", "program:queue", env={"PYTHONPATH": f"{rig.env['PYTHONPATH']}:{rig.folder}"}
    )
    assert leaks({"output": rig.output(failed), "status": json.dumps(rig.status(failed)), **stored(rig, failed)}) == [
        ("database", GITHUB[5:])
    ], "the result alone"
    assert rig.status(returned)["result"] == GITHUB
