"""Stories of a lead in a file, folded offline by the command line: for tests of what people are told of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams.cli import build

HOUR, DAY = 3_600_000, 86_400_000
Show = Callable[..., dict[str, Any]]
Run = Callable[..., Result]


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


MONDAY = ms("2026-11-16T09:00:00")


def event(type_: str, at: int, payload: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": type_, "occurred_at": at, "source_system": "test", "source_event_id": f"{type_}/{at}",
        "subject": {"lead_id": "lead-1"}, "payload": payload or {},
    }  # fmt: skip
    return made | more


def page(at: int, path: str = "pricing", **more: Any) -> dict[str, Any]:
    return event("page_viewed", at, {"url": f"https://example.org/{path}"}, **more)


KNOWN = [
    event("owner_changed", MONDAY - DAY, {"owner": "owner-1", "team": "sales", "active": True}, subject=None),
    event("created", MONDAY, {"source": "email", "generated_by": "marketing"}),
    event(
        "attributes_changed", MONDAY, {"fields": {"role": "director", "company_size": 50, "company": "c-1"}}
    ),
    page(MONDAY + 60_000),
]
HANDED = [*KNOWN, event("form_submitted", MONDAY + HOUR, {"form_id": "demo", "intent": "hand_raise"})]
TOUCHED = [*HANDED, event("touched", MONDAY + 2 * HOUR, {"channel": "phone", "kind": "call"})]
ACCEPTED = [*TOUCHED, event("accepted", MONDAY + 3 * HOUR)]
DEAL = {"subject": {"deal_id": "deal-1"}}
WON = [
    *ACCEPTED,
    event(
        "opened", MONDAY + DAY,
        {"leads": [{"lead_id": "lead-1"}], "amount": 150_000, "currency": "EUR", "pipeline": "new", "stage": "offer"},
        **DEAL,
    ),
    event("won", MONDAY + 3 * DAY, {"amount": 120_050, "currency": "EUR"}, **DEAL),
]  # fmt: skip


def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command over some events, in an empty folder, with no settings."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("LEADSTREAM_"):
            monkeypatch.delenv(name)

    def invoke(events: Iterable[dict[str, Any]], *arguments: str) -> Result:
        lines = "".join(json.dumps(e) + "\n" for e in events)
        (tmp_path / "e.ndjson").write_text(lines, encoding="utf-8")
        return CliRunner().invoke(build(), [*arguments, "--file", "e.ndjson"], env={"COLUMNS": "240"})

    return invoke


def shower(run: Run) -> Show:
    """The same, as the command's JSON."""

    def found(events: Iterable[dict[str, Any]], *arguments: str) -> Any:
        result = run(events, *arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    return found
