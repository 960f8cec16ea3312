"""What was said of final numbers that changed, for tests of restatements."""

from __future__ import annotations

from typing import Any

from tests.world import Funnel


def said(f: Funnel, **having: Any) -> list[dict[str, Any]]:
    return f.out("restatements", None, **having)


def numbers(f: Funnel, figure: str) -> list[tuple[Any, ...]]:
    """(labels, period, old, new) of a figure, in order."""
    return [(x["labels"], x["period"], x["old"], x["new"]) for x in said(f, figure=figure)]


def late(f: Funnel, type_: str, t: int, payload: dict[str, Any] | None = None, **more: Any) -> None:
    f.say(type_, t, payload, recorded_at=f.now, **more)
