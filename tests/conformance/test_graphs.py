"""Random graphs of jobs with random outcomes: every job ends where the rules put it, and none that could run waits.

The rules are told a second time here, on paper as it were: `expected` follows a graph from its roots
to its leaves, knowing each attempt's outcome beforehand, without queues, clocks or transactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import claims
from tests.conformance.builders import Bench, admission, exited, settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.jobs import Lease
    from queue_core.store import Store

EXAMPLES = 150 if claims.THOROUGH else 40
Condition = Literal["success", "any", "failure"]
KEYS: dict[Condition, str] = {"success": "after", "any": "after_any", "failure": "after_failure"}
KINDS = ("command", "command", "command", "known", "unknown")  # of handler, if it is not a command
STEPS = 400  # of one graph: far more than its attempts


class Node(NamedTuple):
    """One job of a graph: what it waits for (earlier nodes), how it runs, and how each attempt will end."""

    needs: tuple[tuple[int, Condition], ...]
    kind: str
    queue: str
    priority: str
    sequential: bool
    lock: str | None
    retries: int
    exits: tuple[int, ...]  # the exit code of each attempt; 64 is one that no retry can cure, of a command's
    rescue: int | None  # the exit code of the command that takes over when it is dead


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 12))):
        earlier = st.integers(0, number - 1) if number else st.nothing()
        needs = draw(st.lists(st.tuples(earlier, st.sampled_from(list(KEYS))), max_size=3)) if number else []
        kind = draw(st.sampled_from(KINDS))
        retries = draw(st.integers(0, 2))
        nodes.append(
            Node(
                needs=tuple(dict.fromkeys(needs)),
                kind=kind,
                queue=draw(st.sampled_from("ab")),
                priority=draw(st.sampled_from(["critical", "normal", "low"])),
                sequential=draw(st.booleans()),
                lock=draw(st.sampled_from([None, None, "gpu", "disk"])),
                retries=retries,
                exits=tuple(draw(st.lists(st.sampled_from([0, 1, 1, 64]), min_size=retries + 1, max_size=retries + 1))),
                rescue=draw(st.sampled_from([None, None, 0, 1])) if kind == "command" else None,
            )
        )
    return nodes


class Fate(NamedTuple):
    """Where a job ends up, and what those see who wait for its success."""

    state: str
    attempts: int = 0

    @property
    def stays_out(self) -> bool:
        """It has not ended, and without a person's doing it never will."""
        return self.state in ("blocked", "available")


def expected(nodes: Sequence[Node]) -> list[Fate]:
    """Where each job of the graph has to end up."""
    fates: list[Fate] = []
    for node in nodes:
        verdicts = [_verdict(condition, fates[need], nodes[need]) for need, condition in node.needs]
        if "never" in verdicts:
            fates.append(Fate("cancelled"))
        elif "open" in verdicts:
            fates.append(Fate("blocked"))
        elif node.kind == "unknown":
            fates.append(Fate("available"))
        else:
            fates.append(_run(node))
    return fates


def _run(node: Node) -> Fate:
    for number, code in enumerate(node.exits, 1):
        if code == 0:
            return Fate("succeeded", number)
        if code == 64 and node.kind == "command":
            return Fate("dead", number)
    return Fate("dead", len(node.exits))


def _verdict(condition: Condition, fate: Fate, node: Node) -> str:
    if fate.stays_out:
        return "open"
    if condition == "any":
        return "met"
    if fate.state == "cancelled":
        return "never"
    if condition == "success":
        rescued = fate.state == "dead" and node.rescue == 0
        return "met" if fate.state == "succeeded" or rescued else "open"
    return "met" if fate.state == "dead" else "never"


class Play:
    """A graph in a real store, with a worker for commands and one for the handler that is known."""

    def __init__(self, bench: Bench, nodes: Sequence[Node]) -> None:
        self.bench = bench
        self.nodes = nodes
        self.running: list[Lease] = []
        bench.enter("commands")
        bench.enter("functions", handlers=("known",))
        self.ids: list[int] = []
        for number, node in enumerate(nodes):
            self.ids.append(self._add(number, node))

    def _add(self, number: int, node: Node) -> int:
        fields: dict[str, Any] = {"queue": node.queue, "priority": node.priority, "sequential": node.sequential}
        for need, condition in node.needs:
            key = KEYS[condition]
            fields[key] = (*fields.get(key, ()), self.ids[need])
        if node.lock:
            fields["locks"] = ((node.lock, 1),)
        if node.rescue is not None:
            fields["on_dead"] = (("rescue", str(number)),)
        if node.kind != "command":
            fields |= {"handler": node.kind, "arguments": {"node": number}}
        argv = ("run", str(number)) if node.kind == "command" else ()
        return self.bench.submit(admission(*argv, retries=node.retries, **fields), parallelism=2)[0].id

    def to_the_end(self, order: Sequence[int]) -> None:
        """Claim all that may start, end one of what runs, wait out the backoff; until nothing is left to do."""
        for step in range(STEPS):
            self._claim()
            if not self.running:
                due = self.bench.store.next_due(self.bench.now)
                if due is None:
                    return
                self.bench.now = due
                continue
            lease = self.running.pop(order[step % len(order)] % len(self.running))
            self.bench.settle(settlement(lease, exited(self._exit_code(lease))), permanent=[64])
        raise AssertionError("it never came to an end")

    def _claim(self) -> None:
        self.running += self.bench.claim(worker="commands")
        self.running += self.bench.claim(worker="functions", handlers=("known",), commands=False)

    def _exit_code(self, lease: Lease) -> int:
        if lease.argv[:1] == ("rescue",):
            rescue = self.nodes[int(lease.argv[1])].rescue
            assert rescue is not None
            return rescue
        number = int(lease.argv[1]) if lease.argv else lease.arguments["node"]
        return self.nodes[number].exits[lease.attempt - 1]


@pytest.mark.claim("order")
@settings(max_examples=EXAMPLES, deadline=None)
@given(nodes=graphs(), order=st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_every_job_ends_where_the_rules_put_it_whatever_ran_first(
    open_store: Callable[[], Store], nodes: list[Node], order: list[int]
) -> None:
    bench = Bench(open_store())
    play = Play(bench, nodes)
    play.to_the_end(order)
    found = [Fate(bench.job(job).state, len(bench.job(job).attempts)) for job in play.ids]
    assert found == expected(nodes)
    rescued = [node for node, fate in zip(nodes, expected(nodes), strict=True) if fate.state == "dead"]
    successors = [job for job in bench.everything() if job.id not in play.ids]
    assert len(successors) == sum(node.rescue is not None for node in rescued)
    assert {job.state for job in successors} <= {"succeeded", "dead"}
    assert bench.counters() == bench.recount()
    assert not bench.store.claimable(bench.now, handlers=("known",)), "what could run waits"
