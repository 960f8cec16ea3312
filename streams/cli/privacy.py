"""``leadstream privacy``: what we hold of a person, and how it goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from processors.model import Row
from streams import privacy, state_reader
from streams.cli.console import (
    AsJson,
    DataError,
    UserError,
    instant,
    print_json,
    progress,
    say,
    settings_of,
)
from streams.cli.events import checked_event, message, prepare_codec
from streams.clock import clock_of
from streams.inspection import Subject, key_of
from streams.kafka_tools import Publisher
from streams.settings import Settings
from streams.topology import LeadTopology

#: A worker that reads live erases within seconds; a busy one may be behind.
WAIT_S = 60.0

commands = typer.Typer(help="What we hold of a person, and how it goes.", no_args_is_help=True)
_Lead = Annotated[str, typer.Argument(metavar="LEAD", help="Id of a lead.")]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="privacy")


def _known(settings: Settings, lead: str) -> tuple[LeadTopology, str, Row]:
    """:raises DataError: nobody has heard of the lead."""
    key = key_of("lead", lead)
    row = state_reader.row(settings, key)
    if row is None:
        raise DataError(f"no lead {lead!r} is known; ids are exact, upper and lower case differ")
    return state_reader.topology(settings), key, row


@commands.command()
def export(
    context: typer.Context,
    lead: _Lead,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write to this file, instead of stdout.")
    ] = None,
) -> None:
    """Export everything that is held of a person, as JSON: facts with where they came from, state, what was said.

    Example: [bold]leadstream privacy export lead-1 --output lead-1.json[/bold]
    """
    settings = settings_of(context)
    logic, key, row = _known(settings, lead)
    found = privacy.export(logic, key, row, clock_of(settings).now_ms())
    found["said"] = privacy.published(settings, lead)
    if output is None:
        print_json(found)
        return
    text = msgspec.json.format(msgspec.json.encode(found, enc_hook=str), indent=2)
    try:
        output.write_bytes(text + b"\n")
    except OSError as error:
        raise UserError(f"{output}: {error.strerror}") from None
    say(f"{len(found['facts']):,} facts of {lead} written to {output}")


@commands.command()
def erase(
    context: typer.Context,
    lead: _Lead,
    request_id: Annotated[
        str, typer.Option("--request-id", help="What the request is filed under; it stays on the lead topic.")
    ],
    only: Annotated[
        bool, typer.Option("--only", help="Only this id, not the leads that were merged into it.")
    ] = False,
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds to wait until a worker has done it; 0: don't.", min=0)
    ] = WAIT_S,
    as_json: AsJson = False,
) -> None:
    """Erase a person: rows and published outputs forget them, what was counted stays counted.

    Exit code 1: it is published, but no worker has done it in that time. It may be run again.

    Example: [bold]leadstream privacy erase lead-1 --request-id dsr-2026-17[/bold]
    """
    if not request_id.strip():
        raise UserError("--request-id is empty; write what the request is filed under, such as dsr-2026-17")
    settings = settings_of(context)
    logic, key, row = _known(settings, lead)
    at = clock_of(settings).now_ms()
    same = [] if only else privacy.merged_into(row)
    before = privacy.held(row, Subject(logic, key, row, at).stage)
    events = privacy.requests(lead, same, request_id.strip(), at)
    addresses = privacy.suppressions(row, only, at)
    _publish(settings, [*addresses, *events])
    keys = [key, *same]
    missing = privacy.wait_until_erased(settings, keys, at, wait) if wait else keys
    after = state_reader.row(settings, key) if not missing else None
    found: dict[str, Any] = {
        "lead": lead,
        "request_id": request_id.strip(),
        "erased_up_to": at,
        "also": same,
        "belongs_to": row.target or None,
        "address_suppressed": bool(addresses),
        "waits_for_worker": missing,
        "before": before,
        "after": privacy.held(after, Subject(logic, key, after, at).stage) if after is not None else None,
        "limits": privacy.limits(settings),
    }
    if as_json:
        print_json(found)
    else:
        _tell(found)
    if missing and wait:
        raise DataError(
            f"no worker has erased {', '.join(key[2:] for key in missing)} within {wait:g} s; the request is on {settings.topics.lead} "
            f"and will be taken as soon as one reads it (`leadstream doctor` looks whether one runs)"
        )


@commands.command("hash")
def hash_(
    context: typer.Context,
    addresses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ADDRESS]...", help="Addresses; none: one per line of stdin."),
    ] = None,
) -> None:
    """Make the keyed hash of addresses that publishers put into the attribute address_hash, by LEADSTREAM_PRIVACY_KEY.

    Example: [bold]leadstream privacy hash < addresses.txt[/bold]
    """
    settings = settings_of(context)
    if not settings.privacy_key:
        raise UserError(
            "there is no key: set LEADSTREAM_PRIVACY_KEY to a long random secret, the same for every publisher; "
            "without a key anybody could try addresses out"
        )
    for line in addresses or (line.strip() for line in sys.stdin):
        if line.strip():
            typer.echo(privacy.address_hash(settings.privacy_key, line))


def _publish(settings: Settings, events: list[dict[str, Any]]) -> None:
    prepare_codec(settings)
    with Publisher(settings) as publisher, progress() as bar:
        task = bar.add_task("publishing", total=len(events))
        for number, event in enumerate(events, 1):
            line = checked_event(event, f"event {number}")
            if line.envelope is None or line.problem:
                raise DataError(line.problem)
            publisher.send(message(settings, line.event, line.envelope, "avro"))
            bar.advance(task)


def _tell(found: dict[str, Any]) -> None:
    also = f" and {', '.join(key[2:] for key in found['also'])}" if found["also"] else ""
    typer.secho(
        f"{found['lead']}{also}: asked to be erased up to {instant(found['erased_up_to'])}", bold=True
    )
    before, after = found["before"], found["after"]
    if after is not None:
        gone = f"{before['facts'] - after['facts']:,} facts, {before['attributes'] - after['attributes']:,} attributes"
        typer.echo(f"gone    {gone}, texts, addresses and positions; subscribers were told to forget")
        kept = f"{len(after['journeys']):,} journeys (stages and instants), {len(after['handoffs']):,} handoffs by id"
        if found["belongs_to"]:
            kept = f"with {found['belongs_to'][2:]}, which it was merged into"
        else:
            kept += f", {len(after['deals']):,} deals by id"
        typer.echo(f"counted {kept}; no figure of the past moves")
    if found["belongs_to"]:
        winner = found["belongs_to"][2:]
        typer.echo(
            f"only    this part of the person went: {found['lead']} was merged into {winner}, which keeps its own facts; "
            f"`leadstream privacy erase {winner} --request-id ID` erases the whole person"
        )
    typer.echo(
        "return  "
        + (
            "the address is suppressed by its hash"
            if found["address_suppressed"]
            else "only the same id is suppressed"
        )
        + ": no nurture and no profile before a new consent; a raised hand counts"
    )
    typer.echo("limits")
    for topic, what in found["limits"].items():
        typer.echo(f"  {topic}: {what}")
