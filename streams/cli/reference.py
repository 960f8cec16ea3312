"""``leadstream reference``: exchange rates, owners, source priorities, campaigns."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any

import typer

from processors.reference import Reference, apply
from schemas.vocabulary import OF_FAMILY, REFERENCE
from streams.cli.console import (
    AsJson,
    DataError,
    UserError,
    instant,
    instant_ms,
    print_json,
    print_table,
    say,
    settings_of,
)
from streams.cli.decoding import decoded
from streams.cli.events import STDIN, Line, checked_event, lines, message, prepare_codec
from streams.clock import clock_of
from streams.definitions import default_definition
from streams.kafka_tools import Publisher, Reader
from streams.settings import Settings

#: Fields of reference events that are epoch ms.
_INSTANTS = ("out_of_office_until", "effective_at", "as_of")

commands = typer.Typer(help="Set and show reference data that every worker reads.", no_args_is_help=True)
setting = typer.Typer(help="Publish reference data.", no_args_is_help=True)
commands.add_typer(setting, name="set")


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="reference")


@setting.command()
def fx(
    context: typer.Context,
    base: Annotated[str, typer.Argument(help="1 of this currency, e.g. USD ...")],
    quote: Annotated[str, typer.Argument(help="... is RATE of this one, e.g. EUR ...")],
    rate: Annotated[str, typer.Argument(help="... e.g. 0.9215 ...")],
    date: Annotated[str, typer.Option("--date", help="... on this day, e.g. 2026-11-20.")],
) -> None:
    """Set an exchange rate of a day. The rate of a day again restates what was booked on it.

    Example: [bold]leadstream reference set fx USD EUR 0.9215 --date 2026-11-20[/bold]
    """
    try:
        positive = Decimal(rate) > 0
    except InvalidOperation:
        positive = False
    if not positive:
        raise UserError(f"rate {rate!r}: a positive decimal number, e.g. 0.9215")
    _publish(
        settings_of(context),
        "fx_rate_set",
        {"base": base.upper(), "quote": quote.upper(), "date": date, "rate": rate},
    )


@setting.command()
def owner(
    context: typer.Context,
    owner_id: Annotated[str, typer.Argument(metavar="OWNER", help="Id of the owner, not an e-mail address.")],
    team: Annotated[
        str, typer.Option("--team", help="The owner's team, as the definition's routing names it.")
    ],
    active: Annotated[bool, typer.Option("--active/--inactive", help="Inactive owners get nothing.")] = True,
    weight: Annotated[
        int | None, typer.Option("--weight", min=0, help="Share against the others'; 1.")
    ] = None,
    time_zone: Annotated[
        str | None, typer.Option("--time-zone", help="IANA name, e.g. Europe/Berlin.")
    ] = None,
    away_until: Annotated[
        str | None, typer.Option("--away-until", help="Out of office until this instant (ISO, with zone).")
    ] = None,
) -> None:
    """Say who can be given leads.

    Example: [bold]leadstream reference set owner owner-1 --team sales --time-zone Europe/Berlin[/bold]
    """
    if "@" in owner_id:
        raise UserError(f"owner {owner_id!r}: write an id such as owner-1, not an e-mail address")
    payload: dict[str, Any] = {"owner": owner_id, "team": team, "active": active}
    if weight is not None:
        payload["weight"] = weight
    if time_zone is not None:
        payload["time_zone"] = time_zone
    if away_until is not None:
        payload["out_of_office_until"] = instant_ms(away_until, "--away-until")
    _publish(settings_of(context), "owner_changed", payload)


@setting.command("source-priority")
def source_priority(
    context: typer.Context,
    source_system: Annotated[str, typer.Argument(help="The source system.")],
    priority: Annotated[int, typer.Argument(help="Lower is believed first.")],
) -> None:
    """Say which source system is believed first.

    Example: [bold]leadstream reference set source-priority crm 1[/bold]
    """
    _publish(
        settings_of(context), "source_priority_set", {"source_system": source_system, "priority": priority}
    )


@setting.command()
def campaign(
    context: typer.Context,
    old: Annotated[str, typer.Argument(help="The name so far.")],
    new: Annotated[str, typer.Argument(help="The name from now on.")],
) -> None:
    """Rename a campaign.

    Example: [bold]leadstream reference set campaign "Spring sale" spring-2026[/bold]
    """
    _publish(settings_of(context), "campaign_renamed", {"old": old, "new": new})


@setting.command()
def events(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE|-", help="NDJSON of reference events.")],
) -> None:
    """Publish reference events from NDJSON, all or none.

    Example: [bold]leadstream reference set events rates.ndjson[/bold]
    """
    if file != STDIN and not Path(file).is_file():
        raise UserError(f"{file}: no such file; - reads from stdin")
    found = list(lines(file))
    for line in found:
        if not line.problem and line.envelope and line.envelope.type not in OF_FAMILY[REFERENCE]:
            raise DataError(
                f"{line.place}: {line.envelope.type} is no reference event; use `leadstream publish`"
            )
    _send(settings_of(context), found)


@commands.command()
def show(
    context: typer.Context,
    type_: Annotated[
        str | None, typer.Option("--type", help=f"Only one of {', '.join(sorted(OF_FAMILY[REFERENCE]))}.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the reference data in force: the latest entry of each key.

    Example: [bold]leadstream reference show --type owner_changed[/bold]
    """
    if type_ is not None and type_ not in OF_FAMILY[REFERENCE]:
        raise UserError(f"--type {type_!r}: there are {', '.join(sorted(OF_FAMILY[REFERENCE]))}")
    latest = latest_reference(settings_of(context))
    shown = [each for _, each in sorted(latest.items()) if type_ in (None, each.get("type"))]
    if as_json:
        print_json(shown)
        return
    print_table(
        ("key", "occurred", "what"),
        (
            (
                each["key"],
                instant(each.get("occurred_at")),
                ", ".join(
                    f"{name}={_short(name, value)}"
                    for name, value in each.get("payload", {}).items()
                    if value is not None
                ),
            )
            for each in shown
        ),
    )


def latest_reference(settings: Settings) -> dict[str, dict[str, Any]]:
    """The latest entry of each key of the reference topic, decoded; deleted ones left out."""
    prepare_codec(settings)
    latest: dict[str, dict[str, Any]] = {}
    with Reader(settings) as reader:
        for record in reader.read([settings.topics.reference]):
            entry = decoded(settings, record)
            if record.value is None:
                latest.pop(str(entry["key"]), None)
            else:
                latest[str(entry["key"])] = entry
    return latest


def reference_event(settings: Settings, type_: str, payload: dict[str, Any]) -> Line:
    """A reference event of now, as the deployment's clock has it, by this command line."""
    now = clock_of(settings).now_ms()
    event = {"type": type_, "occurred_at": now, "source_system": "leadstream-cli", "payload": payload}
    return checked_event(event, type_)


def _unusable(line: Line) -> str:
    """Why workers could make nothing of an event whose fields are right, or not all that was meant; "" if they can."""
    assert line.envelope is not None
    told = apply(
        Reference(defaults=default_definition()), [line.envelope], [line.envelope.occurred_at]
    ).problems
    return "; ".join(told)


def _publish(settings: Settings, type_: str, payload: dict[str, Any]) -> None:
    line = reference_event(settings, type_, payload)
    if problem := line.problem or _unusable(line):
        raise UserError(problem)
    _send(settings, [line])


def _send(settings: Settings, found: list[Line]) -> None:
    """:raises DataError: one of them is bad; nothing is published then."""
    for line in found:
        if problem := line.problem or _unusable(line):
            raise DataError(f"{line.place}: {problem}; nothing was published")
    prepare_codec(settings)
    with Publisher(settings) as publisher:
        for line in found:
            assert line.envelope is not None
            publisher.send(message(settings, line.event, line.envelope, "avro"))
    say(f"{len(found)} published to {settings.topics.reference}")


def _short(name: str, value: object) -> str:
    text = instant(value) if isinstance(value, int) and name in _INSTANTS else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
