"""The handoffs as a subscriber sees them: the latest ones, and which of those that are open are overdue."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

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
    decision_due_at: int
    outcome: str = ""
    outcome_at: int = 0
    breached: bool = False


class Board:
    """Fed with the records of the handoffs topic, in order."""

    def __init__(self) -> None:
        self._open: dict[str, Call] = {}
        self._latest: OrderedDict[str, Call] = OrderedDict()
        self.calls = 0

    def read(self, value: bytes) -> None:
        """Take in one record of the topic."""
        _, record = decode_output(value)
        handoff_id, kind = str(record["handoff_id"]), record["kind"]
        if kind == "historical" or record["silent"]:
            return
        call = self._latest.get(handoff_id) or self._open.get(handoff_id)
        if call is None:
            if kind != "made":
                return
            self.calls += 1
            call = Call(handoff_id, "", "", "", 0, 0, 0)
            self._latest[handoff_id] = self._open[handoff_id] = call
            if len(self._latest) > _LATEST:
                self._latest.popitem(last=False)
        call.lead = str(record["lead_id"])
        call.owner = record["owner"] or record["team"] or ""
        call.why = _why(record["context"]) or call.why
        call.started_at = record["started_at"]
        call.due_at = record["first_touch_due_at"] or record["decision_due_at"] or 0
        call.decision_due_at = record["decision_due_at"] or 0
        call.breached = record["breached"]
        call.outcome = record["outcome"] or ("withdrawn" if kind == "withdrawn" else "")
        call.outcome_at = record["outcome_at"] or 0
        if call.outcome or record["op"] == "withdrawn":
            self._open.pop(handoff_id, None)
        else:
            self._open[handoff_id] = call

    @property
    def open(self) -> int:
        return len(self._open)

    def overdue(self, now_ms: int) -> int:
        """Open ones whose decision is due already."""
        return sum(0 < call.decision_due_at < now_ms for call in self._open.values())

    def latest(self, most: int) -> list[Call]:
        """The newest first."""
        calls = sorted(self._latest.values(), key=lambda call: call.started_at, reverse=True)
        return calls[:most]


def _why(context: dict[str, object] | None) -> str:
    if not context:
        return ""
    by = str(context.get("qualified_by") or "")
    text = _REASONS.get(by, by.replace("_", " "))
    rule = context.get("admitting_rule")
    return text if by == "hand_raise" or not rule else f"{text}: {rule}"
