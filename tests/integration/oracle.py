"""What must have come of the records in the topics: the same records, folded in one process in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from processors import columns, links, say
from processors.fold import reference
from processors.model import Member, Row, Share, State, load
from processors.report import report
from processors.subject import base_of, effective
from streams.cli.figures import plain_values
from streams.dead_letters import PREFIX
from streams.driver import Driver
from streams.state_reader import figures_of_rows, loaded
from streams.topology import LeadTopology, build
from tests.integration.pipeline import Pipeline
from tests.subscriber import Output, Subscriber
from tests.world import decided

INPUTS = ("engagement", "lead", "deal")
#: Parts of a row that do not follow from facts alone, but from how often and in what order they were told.
TOLD = (
    "sequences",
    "version",
    "sent",
    "residue",
    "spoken",
    "epoch",
    "again",
    "waiting",
    "digests",
    "spoke",
    "baseline",
)

#: Figures of clocks, which start when a call is said: who reads a week in seconds says some of them on what had come
#: from other partitions by then.
TIMED = frozenset(("delay", "speed_to_lead", "sla_compliance"))


class Oracle(NamedTuple):
    driver: Driver
    rows: dict[str, Row]

    @property
    def topology(self) -> LeadTopology:
        return self.driver.topology

    def figures(self) -> list[dict[str, Any]]:
        """As ``leadstream figures --json`` has them."""
        topology, now_ms = self.topology, self.driver.now_ms
        totals = figures_of_rows(loaded(self.driver.all_rows()), topology, now_ms)
        names = columns.stage_names(topology.definitions)
        return plain_values(
            report(
                totals, topology.definitions[-1], now_ms, names=names, market=topology.market,
                reference=topology.reference,
            )
        )  # fmt: skip


def folded(pipeline: Pipeline) -> Oracle:
    """Everything in the inputs, each record where it lies on the broker, as of the deployment's instant."""
    topology = build(pipeline.settings)
    topology.learn(pipeline.records("reference", "market"))
    driver = Driver(topology, pipeline.clock.now_ms(), live=False)
    for r in pipeline.records(*INPUTS):
        put = driver.publish(
            r.topic, r.key, r.value, timestamp_ms=r.timestamp, headers=r.headers, partition=r.partition
        )
        assert put.offset == r.offset
    driver.run()
    driver.catch_up()
    return Oracle(driver, {key.decode(): load(data) for key, data in driver.all_rows()})


def compare_rows(found: Mapping[str, Row], oracle: Oracle) -> int:
    """Facts are the same bit by bit, and what follows from them is, too. The number of leads whose handoffs were said
    at another moment than the oracle said them, and so run on clocks of their own: they follow from facts and said.

    An answer pins the handoff that was said by then (DOMAIN 4), though facts of another partition take its ground
    away; where it had been there, what sales said next ends a journey that the oracle's lead is still in. So these
    rows may count their journeys otherwise, and a deal stands in one of another number.
    """
    assert found.keys() == oracle.rows.keys()
    other_clocks = 0
    for key, row in found.items():
        wanted = oracle.rows[key]
        assert (row.ledger, row.data, row.base, row.held) == (
            wanted.ledger,
            wanted.data,
            wanted.base,
            wanted.held,
        ), key
        assert not row.waiting, key
        if row.minted == wanted.minted:
            assert differing(row, wanted) == {}, key
        else:
            other_clocks += 1
            assert key[0] in "la"
            assert row.head.acc == wanted.head.acc, key
            assert _deals(row.head) == _deals(wanted.head), key
        if key[0] in "la":
            assert row.head == from_scratch(key, row, oracle), key
    return other_clocks


def differing(row: Row, wanted: Row) -> dict[str, tuple[Any, Any]]:
    """What is not the same: found and wanted, by name."""
    pairs = {
        name: (getattr(row, name), getattr(wanted, name))
        for name in row.__struct_fields__
        if name not in TOLD
    }
    del pairs["head"], pairs["members"]
    for name in State.__struct_fields__:
        pairs[f"head.{name}"] = getattr(row.head, name), getattr(wanted.head, name)
    for name in row.members.keys() | wanted.members.keys():
        pairs[f"members.{name}"] = _facts_of(row.members.get(name)), _facts_of(wanted.members.get(name))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _deals(s: State) -> dict[str, Share]:
    """Deals, whichever journey they belong to and however far that had come."""
    return {name: replace(share, journey=0, call=None) for name, share in s.shares.items()}


def _facts_of(member: Member | None) -> object:
    """What was taken back is as if it had never been told."""
    if member is None or not (member.alias or member.ledger or member.edge != (0, 0)):
        return None
    return member.alias, member.edge, member.ledger, member.data


def from_scratch(key: str, row: Row, oracle: Oracle) -> State:
    """The facts of a row folded once, in order, given what was said."""
    scope = oracle.topology.scope(key.encode())
    links.claim(row, scope)
    return reference(effective(row), oracle.driver.now_ms, scope, base_of(row) if row.floor else None)


def compare_said(found: Mapping[str, Row], heard: Subscriber) -> int:
    """The last revision of everything that was said is what the rows decide. How many outputs hold."""
    held: dict[str, dict[str, Output]] = {}
    for (name, id_), output in heard.state.items():
        # A refused merge is no decision of a journey: unit tests look at it.
        if output["op"] != "withdrawn" and name != "restatement" and "/refused/merge/" not in id_:
            held.setdefault(output["lead_id"], {})[id_] = output
    count = 0
    for key, row in found.items():
        if key[0] != "l":
            continue
        said, decisions = held.pop(key[2:], {}), decided(key, row.head)
        assert decisions.keys() <= said.keys(), key
        pinned = tuple(m.id for m in row.minted if m.pinned)
        # An alias's last word on each topic says whose it is now.
        closing = (f"{key[2:]}/merged_into/{row.closed[2:]}/",) if row.closed else ()
        extra = [id_ for id_ in said.keys() - decisions.keys() if not id_.startswith((*pinned, *closing))]
        assert extra == [], key
        for id_, content in decisions.items():
            assert said[id_]["occurred_at"] == content[0], id_
            count += 1
        for j in row.head.journeys:
            for h in j.handoffs:
                made = said[say.output_id(key, (say.HANDOFFS, "made", h.of, h.ordinal))]
                assert made["owner"] == (h.owner or None)
                assert made["started_at"] == h.start
                assert made["decision_due_at"] == (h.due_decide or None)
    assert held == {}, "said of leads that have no row"
    return count


def prove(pipeline: Pipeline, outputs: int, *, merged: bool = False) -> None:
    """Rows, figures, outputs and dead letters are those of the oracle.

    :param outputs: more than so many were said; else the test would prove little.
    :param merged: many leads were called before they turned out to be others: their handoffs keep the ids and clocks that
        they were said with, where the oracle says one for all of them; so figures of handoffs are not compared.
    """
    oracle = folded(pipeline)
    rows = pipeline.rows()
    other_clocks = compare_rows(rows, oracle)
    assert other_clocks <= len(rows) / (20 if merged else 50)
    heard = pipeline.heard()
    assert heard.repeated == 0, "something was said twice"
    assert compare_said(rows, heard) > outputs
    timed = TIMED if other_clocks else frozenset()
    found, wanted = (
        [f for f in figures if f["figure"] not in timed] for figures in (pipeline.figures(), oracle.figures())
    )
    assert merged or found == wanted
    letters = pipeline.letters()
    found = {letter.place: letter.code for letter in letters}
    assert len(found) == len(letters), "one dead letter for each bad record"
    wanted = {}
    for record in oracle.driver.read(pipeline.topics.dead_letters):
        said = {n.removeprefix(PREFIX): v.decode() for n, v in record.headers}
        wanted[said["topic"], int(said["partition"]), int(said["offset"])] = said["code"]
    assert found == wanted
