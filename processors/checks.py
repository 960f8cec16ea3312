"""Self-checks that look into a row: does everything that was scored have a row that says so?"""

from __future__ import annotations

from zlib import crc32

from processors import explain, scoring
from processors.model import Row
from processors.scope import Scope
from processors.subject import base_of, effective

#: Reports look into one lead of so many, always the same ones: it costs as much as counting a row.
ONE_IN = 64


def is_sampled(key: str) -> bool:
    return crc32(key.encode()) % ONE_IN == 0


def score_gap(row: Row, scope: Scope) -> int:
    """Σ |score - Σ ledger rows| by rule (milli-points), as of the row's last transition; always 0.

    Points of a day fade on their own in the ledger rows, and with those of other days in the score; each day is rounded
    down once in either. What is more than that explains nothing.
    """
    s = row.head
    if not s.acc:
        return 0
    d = scope.definitions[s.definition]
    at = max(s.a >> 22, s.fired)
    rows = explain.score_rows(s, base_of(row), effective(row), at, d, scope.definitions)
    days: dict[str, int] = {}
    for x in rows:
        if x.why in ("scored", "before"):
            days[x.rule] = days.get(x.rule, 0) + 1
    rounded = sum(max(0, abs(x.points) - days.get(x.rule, 0) - 1) for x in rows if x.why == "rounding")
    return rounded + abs(sum(x.points for x in rows) - scoring.engagement(s, d.days.day(at), d))
