"""A worker with a defect: the fold of one lead fails, of another the timers. ``python -m tests.integration.broken_worker``"""

from __future__ import annotations

import sys
from typing import Any

from processors import subject
from processors.scope import Scope
from streams.settings import load
from streams.worker import run

BROKEN, OVERDUE = "lead-broken", "lead-overdue"
_process = subject.process


def process(row: subject.Row, events: Any, now: int, scope: Scope, *more: Any) -> subject.Result:
    if scope.subject == f"l:{BROKEN}" or (scope.subject == f"l:{OVERDUE}" and not events):
        raise ZeroDivisionError("a defect")
    return _process(row, events, now, scope, *more)


if __name__ == "__main__":
    subject.process = process
    sys.exit(run(load()))
