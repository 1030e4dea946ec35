"""The spool: what was left there is read back whole, and a broken file harms nobody else's."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core import spool
from queue_core.errors import QueueError, StoreFull
from queue_core.jobs import Filter
from queue_core.model import Admission, NewJob, Origin, Retry, Step
from queue_core.service import Queue
from queue_core.settings import Settings
from queue_core.sqlite.store import SqliteStore
from queue_core.value import replace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queue_core.home import Home

pytestmark = pytest.mark.claim("spool")

NOW = 1_800_000_000.0
FULL_JOB = NewJob(
    argv=("make", "caf\udce9", ""),
    handler="transcribe",
    arguments={"paths": ["a", 1.5, None], "deep": {"x": []}},
    cwd="/w",
    env={"A": "1", "B": "\udcff"},
    pass_env=("TERM",),
    stdin=bytes(range(256)),
    stdin_path="/in",
    queue="q",
    priority="high",
    sequential=True,
    after=(1, "ref"),
    after_any=(2,),
    after_failure=(3,),
    delay=5.0,
    at=None,
    timeout=6.0,
    retries=2,
    retry="fast",
    backoff="linear",
    backoff_base=1.5,
    backoff_cap=60.0,
    unique="key",
    locks=(("gpu", 2), ("disk", 1)),
    name="n",
    meta={"k": "ü"},
    on_dead=(("notify", "x"), ("claude", "-p", "")),
    escalate_after=2,
    ref="r",
)
FULL = Admission(
    job=FULL_JOB,
    origin=Origin(caller="hook", session="s", project="/p", client="c"),
    program="/usr/bin/gmake",
    executable="/usr/bin/make",
    cwd="/w",
    env={"PATH": "/b", "A": "1"},
    retry=Retry(retries=2, backoff="linear", base=1.5, cap=60.0, jitter=0.5),
    timeout=6.0,
    due_at=NOW + 5,
    held="no rule",
    on_dead=(
        Step(argv=("notify", "x"), executable="/usr/bin/notify", after=2),
        Step(argv=("claude", "-p", ""), executable="/b/claude"),
    ),
    escalated_from=4,
    schedule="nightly",
    task="t-1",
)
PLAIN = Admission(
    job=NewJob(argv=("true",)),
    origin=Origin(caller="hook"),
    program="/bin/true",
    executable="/bin/true",
    cwd="/",
    env={},
    retry=Retry(),
    timeout=None,
)


def test_the_example_sets_every_field() -> None:
    unset = [name for name in Admission._fields if getattr(FULL, name) is None]  # pyright: ignore[reportPrivateUsage]
    assert unset == ["spool_id"]
    same = [name for name in NewJob._fields if getattr(FULL_JOB, name) == getattr(NewJob, name)]  # pyright: ignore[reportPrivateUsage]
    assert same == ["at"]


def test_an_admission_with_every_field_set_comes_back_as_it_was(home: Home) -> None:
    spool_id = spool.leave(home, [FULL, PLAIN], now=NOW)
    (path,) = spool.pending(home)
    assert spool.read(path) == [replace(FULL, spool_id=f"{spool_id}#0"), replace(PLAIN, spool_id=f"{spool_id}#1")]


def test_a_command_for_a_death_that_was_left_before_there_were_chains_is_a_chain_of_one(home: Home) -> None:
    spool.leave(home, [replace(PLAIN, job=replace(PLAIN.job, on_dead=()))], now=NOW)
    (path,) = spool.pending(home)
    ((old,),) = [json.loads(Path(path).read_text())]
    del old["on_dead"]
    old["on_dead_program"] = "/usr/bin/notify"
    old["job"]["on_dead"] = ["notify", "x"]
    Path(path).write_text(json.dumps([old]))
    (found,) = spool.read(path) or []
    assert found.on_dead == (Step(argv=("notify", "x"), executable="/usr/bin/notify"),)
    old["on_dead_program"], old["job"]["on_dead"] = None, []
    Path(path).write_text(json.dumps([old]))
    assert [one.on_dead for one in spool.read(path) or []] == [()]


def test_submissions_are_pending_oldest_first_until_they_are_removed(home: Home) -> None:
    ids = [spool.leave(home, [PLAIN], now=NOW + n) for n in (2, 1, 3)]
    names = [os.path.basename(path) for path in spool.pending(home)]
    assert names == [f"{ids[n]}.json" for n in (1, 0, 2)]
    spool.remove(spool.pending(home)[0])
    assert len(spool.pending(home)) == 2


def test_a_submission_that_somebody_else_has_taken_is_none(home: Home) -> None:
    assert spool.pending(home) == []
    assert spool.read(home.spool + "/gone.json") is None
    spool.remove(home.spool + "/gone.json")


def test_its_files_are_for_their_user_alone(home: Home) -> None:
    spool.leave(home, [PLAIN], now=NOW)
    (path,) = spool.pending(home)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Path(home.spool).stat().st_mode & 0o777 == 0o700


def test_a_half_written_file_is_not_pending(home: Home) -> None:
    spool.leave(home, [PLAIN], now=NOW)
    Path(home.spool, "0-1-x.json.part").write_text("[")
    assert len(spool.pending(home)) == 1


@pytest.mark.parametrize("text", ["", "{", "[1]", "[{}]", "{}", '[{"job": {}}]', "null", "caf\u00e9"])
def test_a_broken_file_is_set_aside_and_not_lost(home: Home, text: str) -> None:
    spool.leave(home, [PLAIN], now=NOW)
    path = Path(spool.pending(home)[0])
    path.write_text(text, encoding="utf-8")
    with pytest.raises(QueueError, match="set aside"):
        spool.read(str(path))
    assert spool.pending(home) == []
    assert Path(str(path) + ".broken").read_text(encoding="utf-8") == text


def test_a_file_whose_job_is_of_another_shape_is_set_aside(home: Home) -> None:
    spool.leave(home, [PLAIN], now=NOW)
    Path(spool.pending(home)[0]).write_text('[{"job": []}]')
    with pytest.raises(QueueError, match="set aside"):
        spool.read(spool.pending(home)[0])


def test_a_socket_is_set_aside(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    spool.leave(home, [PLAIN], now=NOW)
    (path,) = map(Path, spool.pending(home))
    path.unlink()
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path.name)
    with pytest.raises(QueueError, match="set aside"):
        spool.read(str(path))


class TestBallast:
    def test_it_is_given_up_when_the_disk_is_full_and_the_job_is_kept(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spool.keep_ballast(home)
        ballast = Path(home.spool, ".ballast")
        assert ballast.stat().st_size == spool.BALLAST
        real = os.fsync

        def full_while_there_is_ballast(descriptor: int) -> None:
            if ballast.exists():
                raise OSError(28, "No space left on device")
            real(descriptor)

        monkeypatch.setattr(os, "fsync", full_while_there_is_ballast)
        spool.leave(home, [PLAIN], now=NOW)
        assert len(spool.pending(home)) == 1
        assert not ballast.exists()

    def test_when_even_that_does_not_help_nothing_is_left_behind(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreFull, match="free some space"):
            spool.leave(home, [PLAIN], now=NOW)
        assert os.listdir(home.spool) == []

    def test_where_nothing_can_be_removed_either_that_is_said_in_one_sentence(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read_only(*_: object, **__: object) -> int:
            raise OSError(30, "Read-only file system")

        spool.keep_ballast(home)
        monkeypatch.setattr(os, "open", read_only)
        monkeypatch.setattr(os, "unlink", read_only)
        with pytest.raises(StoreFull, match="Read-only file system"):
            spool.leave(home, [PLAIN], now=NOW)

    def test_one_that_was_laid_on_a_full_disk_is_laid_again(self, home: Home) -> None:
        spool.keep_ballast(home)
        ballast = Path(home.spool, ".ballast")
        ballast.write_bytes(b"short")
        spool.keep_ballast(home)
        assert ballast.stat().st_size == spool.BALLAST

    def test_a_folder_in_its_place_keeps_nobody_from_going_on(self, home: Home) -> None:
        Path(home.spool, ".ballast").mkdir(parents=True)
        spool.keep_ballast(home)
        spool.leave(home, [PLAIN], now=NOW)

    def test_it_is_kept_once(self, home: Home) -> None:
        spool.keep_ballast(home)
        before = Path(home.spool, ".ballast").stat()
        spool.keep_ballast(home)
        assert Path(home.spool, ".ballast").stat() == before


class TestIngesting:
    @pytest.fixture
    def queue(self, home: Home) -> Iterator[Queue]:
        queue = Queue(SqliteStore(home), home, Settings(capacity=1), {}, clock=lambda: NOW)
        yield queue
        queue.close()

    def jobs(self, queue: Queue) -> int:
        return len(queue.store.ids(Filter()))

    def test_what_waits_is_taken_in_once(self, queue: Queue) -> None:
        spool.leave(queue.home, [PLAIN, PLAIN], now=NOW)
        (path,) = spool.pending(queue.home)
        text = Path(path).read_text()
        assert queue.has_backlog()
        assert queue.ingest_spool() == 2
        assert spool.pending(queue.home) == []
        Path(path).write_text(text)  # as if the removal had not survived a crash
        queue.ingest_spool()
        assert self.jobs(queue) == 2

    def test_a_broken_file_holds_no_other_up(self, queue: Queue) -> None:
        for number in range(3):
            spool.leave(queue.home, [PLAIN], now=NOW + number)
        Path(spool.pending(queue.home)[1]).write_text("broken")
        Path(queue.home.spool, "0-folder.json").mkdir()
        assert queue.ingest_spool() == 2
        assert (self.jobs(queue), spool.pending(queue.home)) == (2, [])

    def test_nor_does_a_job_that_can_no_longer_be_taken_in(self, queue: Queue) -> None:
        """What it waited for has been pruned, or cancelled, since the hook left it."""
        hopeless = replace(PLAIN, job=NewJob(argv=("true",), after=(999,)))
        spool.leave(queue.home, [hopeless], now=NOW)
        spool.leave(queue.home, [PLAIN], now=NOW + 1)
        assert queue.ingest_spool() == 1
        assert spool.pending(queue.home) == []
        assert not any(name.endswith(".json") for name in os.listdir(queue.home.spool))
        assert any(name.endswith(".broken") for name in os.listdir(queue.home.spool))
        assert any("cannot be read" in problem for problem in queue.health_view()["problems"])

    @pytest.mark.parametrize(
        ("part", "name", "value"),
        [
            ("job", "priority", "nonsense"),
            ("job", "argv", 5),
            ("job", "after", [[1]]),
            ("origin", "caller", "nobody"),
            (None, "timeout", 10**30),
            (None, "cwd", None),
            (None, "env", [1]),
            ("job", "queue", {}),
        ],
    )
    def test_nor_does_a_file_of_the_right_shape_with_a_value_that_no_job_has(
        self, queue: Queue, part: str | None, name: str, value: object
    ) -> None:
        spool.leave(queue.home, [PLAIN], now=NOW)
        spool.leave(queue.home, [PLAIN], now=NOW + 1)
        path = Path(spool.pending(queue.home)[0])
        items = json.loads(path.read_text())
        (items[0][part] if part else items[0])[name] = value
        path.write_text(json.dumps(items))
        assert queue.ingest_spool() == 1
        assert os.path.exists(f"{path}.broken")
        assert [job["argv"] for job in queue.list_view(Filter())["jobs"]] == [["true"]]

    def test_a_queue_that_is_full_does_not_undo_what_was_accepted(self, queue: Queue) -> None:
        spool.leave(queue.home, [PLAIN] * 5, now=NOW)
        assert queue.ingest_spool() == 5
