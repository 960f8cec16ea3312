"""``leadstream queue``: who to call next, and why."""

from __future__ import annotations

from collections.abc import Iterable
from textwrap import fill
from typing import Annotated

import typer

from processors.money import show as money
from streams.cli.console import AsJson, UserError, columns, instant, print_json, print_table, say, settings_of
from streams.cli.inspect import AsOf, FromFile, InZone, known
from streams.cli.replay import WithDefinition
from streams.cli.subjects import CLOCKS, Printer, points
from streams.cli.times import ago, span, zone_named
from streams.inspection import View
from streams.queue import owners, queue, teams

LIMIT = 20
#: From so many columns on a table can be read.
_WIDE = 140
#: Names that an error lists.
_NAMED = 30


def register(app: typer.Typer) -> None:
    app.command("queue")(queue_)


def queue_(
    context: typer.Context,
    team: Annotated[str | None, typer.Option("--team", help="Only of this team.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only of this owner.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=0, help="Only the first so many; 0: all.")
    ] = LIMIT,
    as_of: AsOf = None,
    file: FromFile = None,
    definition: WithDefinition = None,
    zone: InZone = None,
    as_json: AsJson = False,
) -> None:
    """Say who to call next, and why: the open handoffs by priority, with what is left of their deadlines.

    Priority is the probability of winning times the expected amount; it needs a win model (`leadstream win-model`).

    Example: [bold]leadstream queue --team sales --limit 5[/bold]
    """
    source = known(settings_of(context), file, as_of, definition)
    everything = queue(source.topology, source.rows(), source.as_of)
    if team is not None:
        _one_of("--team", team, "team", teams(source.topology, everything, source.as_of))
    if owner is not None:
        _one_of("--owner", owner, "owner", owners(source.topology.reference, everything, source.as_of))
    found = [
        h
        for h in everything
        if (team is None or h["team"] == team) and (owner is None or h["owner"] == owner)
    ]
    for n, h in enumerate(found, 1):
        h["place"] = n
    shown = found[:limit] if limit else found
    model = source.topology.reference.win_model_at(source.as_of)
    priced = sum(h["priority_minor"] is not None for h in found)
    if as_json:
        print_json(
            {
                "as_of": instant(source.as_of),
                "win_model_as_of": instant(model.as_of) if model is not None else None,
                "ordered_by": "priority" if priced else "deadline and score",
                "waiting": len(found),
                "with_priority": priced,
                "queue": shown,
            }
        )
        return
    newest = source.topology.definitions[-1].source
    printer = Printer(zone_named(zone or newest.time_zone), source.as_of, source.file)
    if found:
        typer.secho(f"next: {_sentence(found[0], printer)}", bold=True)
        if (columns() or _WIDE) < _WIDE:
            _print_blocks(shown, printer)
        else:
            print_table(
                ("", "lead", "owner", "team", "priority", "chance", "expected", "next deadline", "business time left",
                 "why"),
                (_line(h, printer) for h in shown),
            )  # fmt: skip
    _report(found, shown, priced, model is not None, printer)


def _report(found: list[View], shown: list[View], priced: int, modelled: bool, printer: Printer) -> None:
    overdue = sum(h["overdue"] for h in found)
    left = f", the first {len(shown):,} of them shown (--limit 0: all)" if len(shown) < len(found) else ""
    say(
        f"{len(found):,} handoffs wait for an answer, {overdue:,} overdue, as of {printer.at(printer.as_of)}{left}"
    )
    if not found or priced == len(found):
        return
    if priced:
        say(
            f"{len(found) - priced:,} have no priority (no win model was in force when their clocks started, or no "
            f"amount is known in its currency): they come after the others, by deadline and score"
        )
    elif modelled:
        say(
            "none has a priority (no win model was in force when their clocks started, or it has no won or no lost "
            "deal): ordered by deadline and score"
        )
    else:
        say("there is no win model: ordered by deadline and score; `leadstream win-model publish` makes one")


def _one_of(option: str, given: str, what: str, names: list[str]) -> None:
    if given in names:
        return
    some = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    raise UserError(
        f"{option} {given}: no such {what}; " + (f"there are {some}" if names else f"no {what} is known")
    )


def _sentence(h: View, printer: Printer) -> str:
    who = f"{h['lead_id']} ({h['owner'] or 'nobody present'} of {h['team']})"
    parts = [who, _hope(h), _due(h, printer), _why(h, printer)]
    return "; ".join(part for part in parts if part)


def _hope(h: View) -> str:
    if h["priority_minor"] is None:
        return ""
    worth = money(h["priority_minor"], h["currency"])
    return f"{_percent(h)} chance of {money(h['expected_minor'], h['currency'])}, worth {worth}"


def _percent(h: View) -> str:
    """Exact to a hundredth of a per cent, which is as far as the model goes."""
    if h["win_probability_ppm"] is None:
        return ""
    whole, rest = divmod(h["win_probability_ppm"] // 100, 100)
    return f"{whole}.{rest:02} %"


def _due(h: View, printer: Printer) -> str:
    if h["paused_at"] is not None:
        return f"paused since {printer.at(h['paused_at'])}"
    due = h["next"]
    if due is None:
        return ""
    said = f"{CLOCKS[due['clock']]} {ago(due['due_at'], printer.as_of)}"
    return f"OVERDUE: {said}" if h["overdue"] else said


def _business(h: View) -> str:
    due = h["next"]
    if due is None:
        return ""
    left = due["business_ms"]
    return span(left) if left > 0 else f"{span(-left)} over" if left < 0 or due["wall_ms"] < 0 else "none"


def _why(h: View, printer: Printer) -> str:
    parts: Iterable[str] = (
        ("raised a hand " + (ago(h["raised_at"], printer.as_of) if h["raised_at"] else "")).strip()
        if h["hand_raised"]
        else "",
        ", ".join(f"{r['rule']} {points(r['points_milli'])}" for r in h["reasons"]),
        f"fit {h['fit_grade']}" if h["fit_grade"] else "",
        h["segment"] or "",
        ", ".join(f"{CLOCKS[clock]} was late" for clock in CLOCKS if _was_late(h, clock)),
        *(flag for flag in h["flags"] if flag not in ("hand-raise", "silent", "imported")),
    )
    return "; ".join(part for part in parts if part)


def _was_late(h: View, clock: str) -> bool:
    """Missed, and done since."""
    return h[clock] is not None and h[clock]["breached_at"] is not None and h[clock]["done_at"] is not None


def _print_blocks(shown: list[View], printer: Printer) -> None:
    """Where a table would break each cell: a paragraph for each."""
    for h in shown:
        left = _business(h)
        due = _due(h, printer) + (f" ({left}, in business time)" if left else "")
        parts = [
            f"{h['lead_id']} ({h['owner'] or 'nobody present'} of {h['team']})",
            _hope(h),
            due,
            _why(h, printer),
        ]
        number = f"{h['place']:>3}  "
        for part in filter(None, parts):
            typer.echo(fill(part, columns() or _WIDE, initial_indent=number, subsequent_indent=" " * 5))
            number = " " * 5


def _line(h: View, printer: Printer) -> tuple[str, ...]:
    currency = h["currency"] or ""
    due = _due(h, printer)
    return (
        str(h["place"]), h["lead_id"], h["owner"] or "", h["team"],
        money(h["priority_minor"], currency) if h["priority_minor"] is not None else "–",
        _percent(h) or "–",
        money(h["expected_minor"], currency) if h["expected_minor"] is not None else "–",
        due,
        _business(h), _why(h, printer),
    )  # fmt: skip
