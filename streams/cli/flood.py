"""``leadstream flood``: new handoffs that the flood guard holds back, and what a person does about them."""

from __future__ import annotations

from typing import Annotated, Any, NamedTuple

import typer

from processors import versions
from processors.model import Handoff
from streams import state_reader
from streams.cli.console import (
    AsJson,
    DataError,
    UserError,
    instant,
    print_json,
    print_table,
    say,
    settings_of,
)
from streams.cli.events import checked_event, message, prepare_codec
from streams.clock import clock_of
from streams.kafka_tools import Publisher
from streams.settings import Settings

commands = typer.Typer(
    help="Show, release or drop new handoffs that the flood guard holds back.", no_args_is_help=True
)

_Team = Annotated[str | None, typer.Option("--team", help="Only those of this team.")]
_Leads = Annotated[list[str] | None, typer.Option("--lead", help="Only this lead's; may be repeated.")]
_All = Annotated[bool, typer.Option("--all", help="All that are held.")]
_By = Annotated[str, typer.Option("--by", help="Id of who decides, not an e-mail address.")]


class Held(NamedTuple):
    """A handoff that waits for a person: whose, its id, team and owner, and when it was triggered (epoch ms)."""

    lead_id: str
    handoff_id: str
    team: str
    owner: str | None
    trigger_at: int


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="flood")


@commands.command("list")
def list_(context: typer.Context, team: _Team = None, as_json: AsJson = False) -> None:
    """List new handoffs that are held back, the oldest first.

    Example: [bold]leadstream flood list --team sales[/bold]
    """
    found = held(settings_of(context), team)
    if as_json:
        print_json([each._asdict() for each in found])
        return
    rows = ((x.lead_id, x.handoff_id, x.team, x.owner, instant(x.trigger_at)) for x in found)
    print_table(("lead", "handoff", "team", "owner", "triggered"), rows)
    say(f"{len(found)} held")


@commands.command()
def release(
    context: typer.Context, by: _By, team: _Team = None, lead: _Leads = None, all_: _All = False
) -> None:
    """Let held handoffs out: sales is called, and the clocks start now.

    Example: [bold]leadstream flood release --team sales --by owner-1[/bold]
    """
    _decide(settings_of(context), "handoff_released", "released", by, team, lead, all_)


@commands.command()
def drop(
    context: typer.Context, by: _By, team: _Team = None, lead: _Leads = None, all_: _All = False
) -> None:
    """Call nobody for held handoffs: they are withdrawn. A newer raised hand may call again.

    Example: [bold]leadstream flood drop --lead lead-1 --by owner-1[/bold]
    """
    _decide(settings_of(context), "handoff_dropped", "dropped", by, team, lead, all_)


def held(settings: Settings, team: str | None = None) -> list[Held]:
    """What the rows in Kafka hold back, the oldest first."""
    logic = state_reader.topology(settings)
    found = []
    for key, row in state_reader.rows(settings):
        if not row.flooded or row.target:
            continue
        versions.catch_up(row, logic.scope(key.encode()))
        triggers = {trigger for trigger, _ in row.flooded}
        found += [
            Held(key[2:], h.id, h.team, h.owner or None, h.trigger)
            for j in row.head.journeys
            for h in j.handoffs
            if h.trigger in triggers and not _said(row.minted, h) and team in (None, h.team)
        ]
    return sorted(found, key=lambda x: (x.trigger_at, x.lead_id))


def _said(minted: Any, h: Handoff) -> bool:
    return any((m.of, m.ordinal) == (h.of, h.ordinal) for m in minted)


def _decide(
    settings: Settings, type_: str, done: str, by: str, team: str | None, leads: list[str] | None, all_: bool
) -> None:
    if not by.strip() or "@" in by:
        raise UserError(f"--by {by!r}: write an id such as owner-1, not an e-mail address")
    if not (team or leads or all_):
        raise UserError(
            "say which ones: --team TEAM, --lead ID, or --all; `leadstream flood list` shows them"
        )
    prepare_codec(settings)
    found = [x for x in held(settings, team) if not leads or x.lead_id in leads]
    missing = sorted(set(leads or ()) - {x.lead_id for x in found})
    if missing:
        raise UserError(
            f"nothing is held for {', '.join(missing)}; `leadstream flood list` shows what is. Nothing was {done}"
        )
    now = clock_of(settings).now_ms()
    with Publisher(settings) as publisher:
        for x in found:
            event = {
                "type": type_,
                "occurred_at": now,
                "source_system": "leadstream-cli",
                "subject": {"lead_id": x.lead_id},
                "actor": {"type": "human", "id": by},
                "payload": {"handoff_id": x.handoff_id},
            }
            line = checked_event(event, type_)
            if line.envelope is None:
                raise DataError(line.problem)
            publisher.send(message(settings, event, line.envelope, "avro"))
    say(f"{len(found)} {done}")
