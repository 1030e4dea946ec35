"""What a command gets: an agent's can gain nothing; nobody's inherits more than it needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queue_core.errors import SpawnFailed
from queue_core.keeper import confinement
from tests.keeper.conftest import Rig as Keeper
from tests.keeper.conftest import end_everything_in
from tests.worker.conftest import Rig

AGENT = {"CLAUDECODE": "1"}
HOOK = {**AGENT, "CLAUDE_PROJECT_DIR": "/"}
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="NO_NEW_PRIVS is Linux's")

PRIVILEGES = "grep NoNewPrivs /proc/self/status; sh -c 'sh -c \"grep NoNewPrivs /proc/self/status\"'"


def approved(rig: Rig, *words: str) -> int:
    """An agent's job that a person has approved."""
    job = rig.add(*words, env=AGENT)
    assert rig.job(job).caller == "agent"
    rig.runq("approve", str(job))
    return job


@linux
def test_an_agents_command_and_all_below_it_can_gain_no_rights_and_a_persons_can(rig: Rig) -> None:
    first = approved(rig, "--", "sh", "-c", PRIVILEGES)
    persons = rig.add("--after", str(first), "--", "sh", "-c", PRIVILEGES)  # by the same keeper, afterwards
    rig.runq("hook", "--after", str(first), "--", "sh", "-c", PRIVILEGES, env=HOOK, input="{}")
    last = approved(rig, "--after", str(persons), "--", "sh", "-c", PRIVILEGES)
    rig.worker()
    for job in (first, persons, persons + 1, last):
        rig.reaches(job, "succeeded")
    found = {job: rig.output(job).split()[1::2] for job in (first, persons, persons + 1, last)}
    assert found == {first: ["1", "1"], persons: ["0", "0"], persons + 1: ["0", "0"], last: ["1", "1"]}
    (keeper,) = rig.keepers()
    threads = len(list(Path(f"/proc/{keeper}/task").iterdir()))
    assert threads == 2, "one spawns agents' commands, for as long as the keeper lives"
    assert "NoNewPrivs:\t0" in Path(f"/proc/{keeper}/status").read_text()


@linux
@pytest.mark.parametrize("caller", ["person", "agent"])
def test_a_command_inherits_nothing_that_it_does_not_need(rig: Rig, caller: str) -> None:
    script = (
        "import os, resource, signal\n"
        "fds = sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n))\n"
        "stat = open('/proc/self/stat').read().rpartition(')')[2].split()\n"
        "old = os.umask(0); status = open('/proc/self/status').read()\n"
        "masks = [int(line.split()[1], 16) for line in status.splitlines() if line[:6] in ('SigBlk', 'SigIgn')]\n"
        "masks[1] &= ~(3 << 31)  # the C library's own: 32 and 33\n"
        "print(fds, os.getsid(0) == os.getpid(), stat[4], oct(old), masks, os.nice(0),"
        " resource.getrlimit(resource.RLIMIT_CORE)[0] == 0)\n"
    )
    argv = ("--", sys.executable, "-I", "-S", "-c", script)
    job = approved(rig, *argv) if caller == "agent" else rig.add(*argv)
    rig.drain(preexec_fn=_with_core_files)
    ignored = 0x1001000  # SIGPIPE and SIGXFSZ: by Python itself
    expected = f"[0, 1, 2, 198] True 0 0o22 [0, {ignored}] {os.nice(0)} {caller == 'agent'}\n"
    assert rig.output(job) == expected


def _with_core_files() -> None:
    import os
    import resource

    os.umask(0o022)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


# What executes or reads something else in the programs that see it, and what opens doors.
DANGEROUS = {
    **dict.fromkeys(("LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONSTARTUP", "GIT_SSH_COMMAND", "NODE_OPTIONS"), ""),
    **dict.fromkeys(("BASH_ENV", "ENV", "PERL5LIB", "RUBYOPT", "JAVA_TOOL_OPTIONS", "PYTHONINSPECT", "EDITOR"), ""),
    "PYTHONPATH": None,  # the checkout's, without which there is no worker here
    "GIT_CONFIG_COUNT": "0",
    "GITHUB_TOKEN": "ghs-secret",
    "OPENAI_API_KEY": "secret",
    "AWS_ACCESS_KEY_ID": "secret",
    "AWS_PROFILE": "prod",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "MY_OWN": "value",
}
CLIENTS = {"ANTHROPIC_API_KEY": "sk-secret", "CLAUDE_CODE_OAUTH_TOKEN": "secret", "CLAUDECODE": "1"}


def test_no_variable_that_executes_or_opens_anything_reaches_an_agents_command(rig: Rig) -> None:
    workers = {name: value for name, value in DANGEROUS.items() if value is not None}
    (rig.home / "config.toml").write_text('pass_env = ["AWS_PROFILE"]\n')
    agents = approved(rig, "--", "env", "-0")
    persons = rig.add("--", "env", "-0")
    rig.runq("hook", "--", "env", "-0", env=HOOK, input="{}")
    named = rig.add("--pass-env", "ANTHROPIC_API_KEY", "--", "env", "-0", env={"ANTHROPIC_API_KEY": "mine"})
    rig.worker(**workers, **{name: value for name, value in CLIENTS.items() if name != "CLAUDECODE"})
    seen: dict[int, set[str]] = {}
    for job in (agents, persons, persons + 1, named):
        rig.reaches(job, "succeeded")
        pairs = (rig.run_dir(job) / "output").read_bytes().decode().split("\0")[:-1]
        seen[job] = {pair.partition("=")[0] for pair in pairs}
    assert seen[agents] & {*DANGEROUS, *CLIENTS} == {"AWS_PROFILE"}, "the one that the user's own file names"
    for job in (persons, persons + 1):
        assert seen[job] >= set(DANGEROUS) and not seen[job] & set(CLIENTS)
    assert seen[named] & set(CLIENTS) == {"ANTHROPIC_API_KEY"}


def test_an_agents_command_ends_when_its_time_is_up_whatever_it_asked_for(rig: Rig) -> None:
    (rig.home / "config.toml").write_text("agent_timeout = 0.3\n")
    jobs = [approved(rig, "--retries", "0", *asked, "--", "sleep", "60") for asked in ((), ("--timeout", "3600"))]
    rig.worker()
    for job in jobs:
        rig.reaches(job, "dead")
        assert [one.outcome for one in rig.job(job).attempts] == ["timed_out"]


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    made = Keeper(tmp_path)
    yield made
    made.hang_up()
    end_everything_in(tmp_path, but=made.pid)
    if not made.gone:
        made.wait()


BROKEN = {
    "no program": ("/no/such/program",),
    "no interpreter": ("{}/script",),
    "a folder": ("/usr",),
    "too long": ("/bin/true", *(["x" * 100_000] * 40)),
    "NUL": ("/bin/true", "a\0b"),
}


def test_what_cannot_be_spawned_fails_in_the_same_words_confined_or_not(keeper: Keeper, tmp_path: Path) -> None:
    (tmp_path / "script").write_text("#!/no/such/interpreter\n")
    (tmp_path / "script").chmod(0o755)
    for number, argv in enumerate(BROKEN.values(), 1):
        words = [word.format(tmp_path) for word in argv]
        keeper.spawn(2 * number, *words)
        keeper.spawn(2 * number + 1, *words, confined=True)
        plain, confined = keeper.end(2 * number), keeper.end(2 * number + 1)
        assert plain.status is None and plain.error
        assert confined.error == plain.error


def test_ends_are_noticed_at_once_and_no_threads_gather(keeper: Keeper) -> None:
    for job in range(1, 41):
        keeper.spawn(job, "/bin/true", confined=True)
    assert [keeper.end(job).status for job in range(1, 41)] == [0] * 40
    if sys.platform.startswith("linux"):
        assert len(list(Path(f"/proc/{keeper.pid}/task").iterdir())) == 2


def test_a_request_that_does_not_say_whether_it_is_confined_is_refused(keeper: Keeper) -> None:
    request = keeper.job(1, "/bin/true")
    del request["confined"]
    keeper.send({"op": "spawn", "jobs": [request]})
    assert "confined" in keeper.next("refused")["error"]


@linux
def test_without_no_new_privs_an_agents_command_is_not_started(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[int] = []
    monkeypatch.setattr(confinement, "_prctl", lambda *_: -1)
    with pytest.raises(SpawnFailed, match="can't be kept from gaining rights"):
        confinement.confined(lambda: called.append(1) or 1)
    assert called == []


def test_without_a_thread_it_is_the_systems_trouble_which_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(confinement._thread, "start_new_thread", refuse)
    monkeypatch.setattr(confinement, "_spawner", None)
    if sys.platform.startswith("linux"):
        with pytest.raises(OSError, match="new thread"):
            confinement.confined(lambda: 1)
