"""`runq backup` and the whole drill with a damaged database, by the real command line; and who may pin what."""

import os
import re
import signal
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import AGENT, Cli, Ran, answered, finish, on_terminal
from tests.helpers import stop, wait_until
from tests.mcp.places import Place
from tests.mcp.servers import Server


def taken(cli: Cli) -> str:
    """Back up; the name of the file."""
    return Path(cli.ok("backup", "now").out.strip()).name


def names(cli: Cli) -> list[str]:
    return [line[0] for line in cli.ok("backup", "list").lines]


def asked(cli: Cli, answer: str) -> tuple[int, str]:
    """Restore on a terminal, with this answer: the exit code, and what was shown."""
    return answered(cli, "backup", "restore", answer=answer.encode() + b"\n", TERM="dumb")


class TestNow:
    def test_it_tells_the_file_that_it_made(self, cli: Cli):
        cli.add("--", "true")
        made = Path(cli.ok("backup", "now").out.strip())
        assert made.parent == cli.home / "backups"
        assert stat.S_IMODE(made.stat().st_mode) == 0o600
        assert stat.S_IMODE(made.parent.stat().st_mode) == 0o700
        found = cli.ok("backup", "list", "--json").json
        assert found["folder"] == str(made.parent)
        (one,) = found["backups"]
        assert (one["name"], one["kind"], one["jobs"], one["ok"]) == (made.name, "manual", 1, True)
        assert (one["path"], one["size"], one["error"]) == (str(made), made.stat().st_size, None)
        assert cli.ok("backup", "list").lines == [
            [made.name, "manual", one["taken_at"], str(one["size"]), "1", "ok"],
        ]

    def test_it_writes_to_a_file_of_ones_own_and_never_over_one(self, cli: Cli):
        cli.add("--", "true")
        assert cli.ok("backup", "now", "--to", "mine.db").out.strip() == str(cli.project / "mine.db")
        assert os.listdir(cli.project) == ["mine.db"]
        again = cli("backup", "now", "--to", "mine.db")
        assert (again.code, "is there already" in again.err) == (1, True)
        assert names(cli) == []
        cli.ok("cancel", "1")
        cli.ok("backup", "restore", "./mine.db", "--yes")
        assert cli.states() == {1: "available"}

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (("backup", "undo"), "knows now, list and restore"),
            (("backup", "now", "x"), "does not know what to do with `x`"),
            (("backup", "list", "--to", "x"), "--to goes with `runq backup now`"),
            (("backup", "now", "--yes"), "--yes goes with `runq backup restore`"),
            (("backup", "now", "--to", "missing/x.db"), "in a folder that is there"),
        ],
    )
    def test_what_makes_no_sense_is_told(self, cli: Cli, words: tuple[str, ...], complaint: str):
        cli.add("--", "true")
        ran = cli(*words)
        assert (ran.code, complaint in ran.err) == (2, True), ran.err

    def test_without_a_queue_there_is_nothing_to_back_up(self, cli: Cli):
        ran = cli("backup", "now")
        assert (ran.code, "nothing to back up" in ran.err) == (1, True)
        assert "There are no backups" in on_terminal(cli, "backup", "list")

    def test_on_a_terminal_the_list_is_a_table(self, cli: Cli):
        cli.add("--", "true")
        name = taken(cli)
        shown = on_terminal(cli, "backup", "list", columns=120)
        assert "NAME" in shown
        assert name in shown


class TestRestore:
    def test_without_a_terminal_it_needs_a_yes(self, cli: Cli):
        cli.add("--", "true")
        taken(cli)
        cli.add("--", "true")
        ran = cli("backup", "restore")
        assert (ran.code, "--yes" in ran.err) == (2, True)
        assert len(cli.states()) == 2
        assert cli.ok("backup", "restore", "--yes").lines[0][1] == "1"
        assert cli.states() == {1: "available"}

    def test_on_a_terminal_it_shows_what_would_happen_and_asks(self, cli: Cli):
        cli.add("--", "true")
        name = taken(cli)
        cli.add("--", "true")
        code, shown = asked(cli, "n")
        assert (code, len(cli.states())) == (1, 2)
        assert name in shown
        assert "holds 1 job." in shown
        assert "The queue holds 2 jobs now" in shown
        assert "what waited runs again" in " ".join(shown.split())
        code, shown = asked(cli, "y")
        assert (code, cli.states()) == (0, {1: "available"})
        assert "is kept as before-restore-" in " ".join(shown.split())

    def test_the_plan_breaks_no_word_on_a_usual_terminal(self, cli: Cli):
        cli.add("--", "true")
        name = taken(cli)
        _, shown = asked(cli, "n")
        plan = shown.replace("\r", "").partition("Restore it?")[0].splitlines()
        assert name in plan[0]
        assert max(len(line) for line in plan) <= 80
        assert "  " not in " ".join(plan)
        words = " ".join(plan).split()
        assert words[-4:] == ["added", "since", "is", "gone."]

    def test_one_that_is_dated_in_the_future_is_taken_last_and_told(self, cli: Cli):
        cli.add("--", "true")
        backups = cli.home / "backups"
        real = taken(cli)
        (backups / "nightly-2999-01-10T030000Z.db").write_bytes((backups / real).read_bytes())
        assert cli.ok("backup", "restore", "--yes").lines[0][0] == real
        assert "in the future" in on_terminal(cli, "backup", "list", columns=120)
        (backups / real).unlink()
        code, shown = asked(cli, "n")
        assert (code, "Mind: nightly-2999-01-10T030000Z.db is dated in the future" in shown) == (1, True)
        assert "dated in the future" in cli.ok("backup", "restore", "--yes").err

    def test_files_that_never_end_hang_nobody(self, cli: Cli):
        cli.add("--", "true")
        name = taken(cli)
        os.mkfifo(cli.home / "backups" / "nightly-2026-01-01T030000Z.db")
        (cli.home / "backups" / "nightly-2026-01-02T030000Z.db").symlink_to("/dev/zero")
        assert names(cli) == [name]
        for which in ("nightly-2026-01-01T030000Z.db", "nightly-2026-01-02T030000Z.db"):
            assert "there is no backup" in cli("backup", "restore", which, "--yes").err

    def test_what_is_no_whole_queue_is_neither_called_good_nor_restored(self, cli: Cli):
        cli.add("--", "true")
        good, other = taken(cli), taken(cli)
        with closing(sqlite3.connect(cli.home / "backups" / other)) as connection:
            connection.execute("DROP TABLE queues")
        listed = {line[0]: line[5] for line in cli.ok("backup", "list").lines}
        assert listed == {good: "ok", other: "it is no whole queue: it lacks the table queues"}
        shown = on_terminal(cli, "backup", "list")
        assert "\x1b[1;31mwrong" in shown
        assert f"{other}: it is no whole queue: it lacks the table queues" in " ".join(shown.split())
        assert good in shown  # whole: it is what a restore is told
        assert max(len(re.sub(r"\x1b\[[0-9;]*m", "", line)) for line in shown.splitlines()) <= 80
        ran = cli("backup", "restore", other, "--yes")
        assert (ran.code, "lacks the table queues" in ran.err) == (1, True)
        assert cli.ok("backup", "restore", "--yes").lines[0][0] == good

    def test_the_doctor_calls_no_database_sound_that_lacks_a_table(self, cli: Cli):
        cli.add("--", "true")
        with closing(sqlite3.connect(cli.home / "runq.db")) as connection:
            connection.execute("DROP TABLE queues")
        ran = cli("doctor")
        (line,) = [line for line in ran.lines if line[1] == "database"]
        assert (ran.code, line[0], "it lacks the table queues" in line[2]) == (1, "wrong", True)

    def test_its_json_tells_under_which_name_the_database_from_before_is_kept(self, cli: Cli):
        cli.add("--", "true")
        taken(cli)
        cli.add("--", "true")
        done = cli.ok("backup", "restore", "--yes", "--json").json
        assert done["restored"]["jobs"] == 1
        cli.ok("backup", "restore", done["kept_as"], "--yes")
        assert len(cli.states()) == 2

    def test_it_is_a_persons_alone(self, cli: Cli):
        cli.add("--", "true")
        taken(cli)
        for env in (AGENT, cli.hook_env, {"RUNQ_JOB_ID": "1"}):
            ran = cli("backup", "restore", "--yes", **env)
            assert (ran.code, "only a person may restore" in ran.err) == (1, True)
        assert len(names(cli)) == 1

    @pytest.mark.parametrize("which", ["nonsense.db", "../runq.db", "/nowhere/x.db"])
    def test_what_is_no_backup_is_not_restored(self, cli: Cli, which: str):
        cli.add("--", "true")
        taken(cli)
        ran = cli("backup", "restore", which, "--yes")
        assert (ran.code, "there is no backup" in ran.err) == (1, True)

    def test_the_database_itself_is_no_backup_of_it(self, cli: Cli):
        cli.add("--", "true")
        ran = cli("backup", "restore", str(cli.home / "runq.db"), "--yes")
        assert (ran.code, "the queue's database itself" in ran.err) == (1, True)

    def test_a_server_that_is_open_goes_on_with_what_was_restored(self, tmp_path: Path):
        with Place(tmp_path) as place:
            place.configure(agents="allow")
            cli = _beside(place)
            cli.ok("pause")
            with Server(place, RUNQ_IDLE="0") as server:
                server.shake_hands()
                cli.ok("add", "--queue", "later", "--delay", "3600", "--", "true")
                name = taken(cli)
                added = server.call("enqueue", argv=["true"], queue="later", delay=3600)
                assert server.call("status")["counts"]["scheduled"] == 2
                wait_until(lambda: not cli.ok("status", "--json").json["worker"]["pids"], "no worker is up")
                cli.ok("backup", "restore", name, "--yes")
                assert server.call("status")["counts"]["scheduled"] == 1
                again = server.call("enqueue", argv=["true"], queue="later", delay=3600)
                assert again["id"] > added["id"]
                assert server.call("status")["counts"]["scheduled"] == 2

    @pytest.mark.claim("restore")
    @pytest.mark.claim("file")
    @pytest.mark.parametrize("state", ["damaged", "gone"])
    def test_so_does_one_under_which_the_file_was_replaced(self, tmp_path: Path, state: str):
        with Place(tmp_path) as place:
            place.configure(agents="allow")
            cli = _beside(place)
            with Server(place, RUNQ_IDLE="0") as server:
                server.shake_hands()
                lines = b'{"argv": ["true"], "queue": "later", "delay": 3600}\n' * 200
                cli.ok("add", "--file", "-", stdin=lines)
                taken(cli)
                cli.ok("add", "--queue", "later", "--delay", "3600", "--", "true")
                cursor = server.call("list_jobs", limit=1)["cursor"]
                assert server.call("status")["counts"]["scheduled"] == 201
                wait_until(lambda: not cli.ok("status", "--json").json["worker"]["pids"], "no worker is up")
                if state == "damaged":
                    no_header(cli.home / "runq.db")
                else:
                    (cli.home / "runq.db").unlink()
                    refused = server.ask("tools/call", name="status", arguments={})
                    assert "removed or replaced" in refused["content"][0]["text"]
                cli.ok("backup", "restore", "--yes")
                assert server.call("list_jobs", limit=1)["cursor"] >= cursor
                assert server.call("status")["counts"]["scheduled"] == 200
                again = server.call("enqueue", argv=["true"], queue="later", delay=3600)
                assert again["id"] > 201
                assert server.call("status")["counts"]["scheduled"] == 201
                assert cli.ok("status", "--json").json["counts"]["scheduled"] == 201


def _beside(place: Place) -> Cli:
    made = Cli.__new__(Cli)
    made.home, made.project, made.processes = place.home, place.project, []
    made.env = {key: value for key, value in place.environ.items() if not key.startswith("CLAUDE")}
    return made


def garbage(path: Path):
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 3)
        file.write(b"\xa5" * (size // 3))


def cut_in_half(path: Path):
    os.truncate(path, path.stat().st_size // 2 + 11)


def no_header(path: Path):
    with path.open("r+b") as file:
        file.write(b"\xa5" * 100)


@pytest.mark.claim("restore")
class TestTheDrill:
    @pytest.mark.parametrize("harm", [garbage, cut_in_half, no_header])
    def test_a_damaged_database_names_the_way_out_and_comes_back(self, cli: Cli, harm):
        lines = "\n".join('{"argv": ["echo", "%s"]}' % ("x" * 500) for _ in range(300))
        cli.ok("add", "--file", "-", stdin=lines.encode())
        older, newest = taken(cli), taken(cli)
        harm(cli.home / "backups" / newest)
        cli.ok("add", "--", "echo", "since")
        harm(cli.home / "runq.db")
        ran = cli("list", "--limit", "1000")
        assert ran.code == 1
        assert "is damaged" in ran.err
        way_out = "`runq backup restore` brings back the newest good backup, "
        # Only a glance is taken at it here, which may miss what damage there is in its middle.
        assert ran.err.split(way_out)[1].strip() in ((older, newest) if harm is garbage else (older,))
        listed = {line[0]: line[5] for line in cli.ok("backup", "list").lines}
        assert listed[older] == "ok"
        assert "damaged" in listed[newest]
        assert cli("backup", "now").code == 1
        assert cli.ok("backup", "restore", "--yes").lines[0][:2] == [older, "300"]
        assert len(cli.ok("list", "--limit", "1000").lines) == 300
        assert cli.add("--", "true") > 301
        kept = next(name for name in names(cli) if name.startswith("before-restore-"))
        assert cli("backup", "restore", kept, "--yes").code == 1

    @pytest.mark.parametrize("state", ["damaged", "gone"])
    def test_workers_can_be_asked_to_leave_all_the_same(self, cli: Cli, state: str):
        cli.add("--", "true")
        taken(cli)
        worker = cli.worker()
        wait_until(lambda: cli.states() == {1: "succeeded"}, "the job has run")
        stop(worker.pid, cli.paths.write_lock)  # or it would see by itself that it can go on no more
        if state == "damaged":
            no_header(cli.home / "runq.db")
        else:
            (cli.home / "runq.db").unlink()
        ran = cli("backup", "restore", "--yes")
        assert (ran.code, "`runq work --stop`" in ran.err) == (1, True)
        asked_to = cli.start("work", "--stop")
        wait_until(lambda: list((cli.home / "workers").glob("*.leave")), "the worker is asked to leave")
        worker.send_signal(signal.SIGCONT)
        assert finish(asked_to).err == "1 worker has left.\n"
        assert finish(worker)
        assert (cli.home / "runq.db").exists() == (state == "damaged")
        cli.ok("backup", "restore", "--yes")
        assert cli.states() == {1: "available"}

    def test_so_does_one_that_is_gone(self, cli: Cli):
        cli.add("--", "true")
        taken(cli)
        for path in cli.home.glob("runq.db*"):
            path.unlink()
        assert len(names(cli)) == 1
        assert not (cli.home / "runq.db").exists()
        cli.ok("backup", "restore", "--yes")
        cli.work()
        assert cli.states() == {1: "succeeded"}

    def test_without_a_backup_the_way_out_is_another(self, cli: Cli):
        cli.add("--", "true")
        cli.states()  # whoever closes it last brings all into the one file
        no_header(cli.home / "runq.db")
        assert "there is no backup of it" in cli("list").err
        assert "no good backup" in cli("backup", "restore", "--yes").err


class TestPins:
    def pin(self, cli: Cli, *words: str, **env: str) -> Ran:
        return cli.ok("pin", *words, "--json", **env)

    def test_whose_a_pin_is_follows_from_who_asks(self, cli: Cli):
        for _ in range(4):
            cli.add("--", "true")
        assert self.pin(cli, "1").json == {"jobs": [{"id": 1, "state": "available"}], "gave_way": []}
        self.pin(cli, "2", RUNQ_PIN_CAP="2", **AGENT)
        assert self.pin(cli, "3", RUNQ_PIN_CAP="2", **AGENT).json["gave_way"] == [2]
        ran = cli.ok("pin", "4", RUNQ_PIN_CAP="2", **AGENT)
        assert (ran.lines, "job 3 is pinned no longer" in ran.err) == ([["4", "available"]], True)
        refused = cli("unpin", "4", "1", **AGENT)
        assert (refused.code, "job 1 was pinned by a person" in refused.err) == (1, True)
        assert [cli.job(job)["pinned"] for job in (1, 2, 3, 4)] == [True, False, False, True]
        cli.ok("unpin", "4", **AGENT)
        cli.ok("unpin", "1")
        assert not any(cli.job(job)["pinned"] for job in (1, 2, 3, 4))

    def test_agents_and_hooks_pin_no_more_at_once_than_the_cap(self, cli: Cli):
        for _ in range(3):
            cli.add("--", "true")
        for cap, ids in (("2", ("1", "2", "3")), ("0", ("1",))):
            ran = cli("pin", *ids, RUNQ_PIN_CAP=cap, **AGENT)
            assert (ran.code, "`pin_cap`" in ran.err) == (1, True)
        cli.ok("pin", "1", "2", "3", RUNQ_PIN_CAP="0")

    def test_under_a_hook_it_is_silent(self, cli: Cli):
        cli.add("--", "true"), cli.add("--", "true")
        cli.ok("pin", "1", RUNQ_PIN_CAP="1", **cli.hook_env)
        ran = cli.ok("pin", "2", RUNQ_PIN_CAP="1", **cli.hook_env)
        assert (ran.out, ran.err) == ("", "")
        assert not cli.job(1)["pinned"]
