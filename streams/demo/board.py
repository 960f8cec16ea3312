"""The handoffs as a subscriber sees them: the latest ones, and how many of those that are open are late."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from schemas.codec import decode_output

#: Handoffs of the view; there is no terminal that shows more.
_LATEST = 30
_REASONS = {"hand_raise": "raised a hand", "fit_and_engagement": "fit, engagement"}


@dataclass(slots=True)
class Call:
    """One handoff, as its last record has it. Instants in ms, 0: none."""

    handoff_id: str
    lead: str
    owner: str
    why: str
    started_at: int
    due_at: int
    outcome: str = ""
    late: bool = False


class Board:
    """Fed with the records of the topics of handoffs and of their clocks, in order within each."""

    def __init__(self) -> None:
        self._open: dict[str, Call] = {}
        self._latest: OrderedDict[str, Call] = OrderedDict()
        #: Handoffs with a missed deadline: told by the other topic, sometimes before the handoff is.
        self._late: set[str] = set()

    def read(self, value: bytes) -> None:
        """Take in one record."""
        name, record = decode_output(value)
        handoff_id, kind = str(record["handoff_id"]), record["kind"]
        if name == "sla":
            if kind == "breached" and record["op"] != "withdrawn":
                self._missed(handoff_id)
        elif kind != "historical" and not record["silent"]:
            self._handoff(handoff_id, kind, record)

    def _missed(self, handoff_id: str) -> None:
        self._late.add(handoff_id)
        if (call := self._find(handoff_id)) is not None:
            call.late = True

    def _find(self, handoff_id: str) -> Call | None:
        return self._latest.get(handoff_id) or self._open.get(handoff_id)

    def _handoff(self, handoff_id: str, kind: str, record: dict[str, Any]) -> None:
        call = self._find(handoff_id)
        if call is None:
            if kind != "made":
                return
            call = Call(handoff_id, "", "", "", 0, 0)
            self._latest[handoff_id] = self._open[handoff_id] = call
            if len(self._latest) > _LATEST:
                self._latest.popitem(last=False)
        call.lead = str(record["lead_id"])
        call.owner = record["owner"] or record["team"]
        call.why = _why(record["context"]) or call.why
        call.started_at = record["started_at"]
        call.due_at = record["first_touch_due_at"] or record["decision_due_at"] or 0
        call.late = record["breached"] or handoff_id in self._late
        call.outcome = record["outcome"] or ("withdrawn" if "withdrawn" in (kind, record["op"]) else "")
        if call.outcome:
            self._open.pop(handoff_id, None)
            self._late.discard(handoff_id)
        else:
            self._open[handoff_id] = call

    @property
    def open(self) -> int:
        return len(self._open)

    @property
    def late(self) -> int:
        """Open ones that have missed a deadline."""
        return sum(call.late for call in self._open.values())

    def latest(self, most: int) -> list[Call]:
        """The newest first."""
        calls = sorted(self._latest.values(), key=lambda call: call.started_at, reverse=True)
        return calls[:most]


def _why(context: dict[str, Any] | None) -> str:
    if not context:
        return ""
    by = str(context.get("qualified_by") or "")
    text = _REASONS.get(by, by.replace("_", " "))
    rule = context.get("admitting_rule")
    return text if by == "hand_raise" or not rule else f"{text}: {rule}"
