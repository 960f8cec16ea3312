"""``leadstream definition``: check, read, compare and publish the one agreed definition."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from processors.definition.compare import compare
from processors.definition.load import DEFAULT_NAME, DefinitionError, load
from processors.definition.model import Definition
from processors.definition.plain import plain
from streams.cli.console import (
    AsJson,
    DataError,
    UserError,
    instant,
    instant_ms,
    print_json,
    read_text,
    say,
    settings_of,
)
from streams.cli.events import checked_event, message, prepare_codec
from streams.cli.reference import latest_reference
from streams.clock import WallClock
from streams.kafka_tools import Publisher
from streams.settings import Settings

commands = typer.Typer(
    help="Check, show, compare and publish the definition of the process.", no_args_is_help=True
)
DEFAULT = "default"  # what a user calls the packaged definition

_File = Annotated[
    str, typer.Argument(metavar="FILE", help="A definition (TOML), or `default` for the packaged one.")
]


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="definition")


@commands.command()
def check(
    file: _File,
) -> None:
    """Check a definition: every mistake with its line and the remedy, exit 2; nothing wrong, exit 0.

    Example: [bold]leadstream definition check ours.toml[/bold]
    """
    found = read_definition(file)
    say(f"{file}: {found.name}@{found.version} is a definition without mistakes")


@commands.command()
def show(
    context: typer.Context,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="A definition; left out: the one of the settings.")
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Its TOML instead of plain language.")] = False,
) -> None:
    """Print a definition in plain language, as both teams read and sign it.

    Example: [bold]leadstream definition show default --toml > ours.toml[/bold]
    """
    found = read_definition(file) if file is not None else configured(settings_of(context))
    typer.echo((found.text if toml else plain(found)).rstrip())


@commands.command()
def diff(
    old: Annotated[str, typer.Argument(metavar="A", help="A definition (TOML), or `default`.")],
    new: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two definitions, in plain language.

    Example: [bold]leadstream definition diff default ours.toml[/bold]
    """
    changes = compare(read_definition(old), read_definition(new))
    if as_json:
        print_json(changes)
        return
    for change in changes:
        typer.echo(change)


@commands.command()
def publish(
    context: typer.Context,
    file: _File,
    signed_by: Annotated[
        list[str] | None, typer.Option("--signed-by", help="A team that agreed; once per team.")
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="Publish without the teams' approval.")
    ] = False,
    effective_at: Annotated[
        str | None,
        typer.Option(
            "--effective-at", help="In force from this instant (ISO with zone); left out: from now."
        ),
    ] = None,
) -> None:
    """Publish a definition to all workers. Needs the approval of each team that it names.

    Example: [bold]leadstream definition publish ours.toml --signed-by marketing --signed-by sales[/bold]
    """
    settings = settings_of(context)
    prepare_codec(settings)
    found = read_definition(file)
    _approved(found, set(signed_by or ()), unsigned)
    now = WallClock().now_ms()
    effective = max(found.effective_at, now)
    if effective_at is not None:
        effective = instant_ms(effective_at, "--effective-at")
        if effective < now:
            raise UserError(
                f"--effective-at {effective_at} is in the past: a definition judges nobody backwards; "
                f"leave it out to begin now"
            )
    _newer(settings, found)
    event = {
        "type": "definition_published",
        "occurred_at": now,
        "source_system": "leadstream-cli",
        "payload": {
            "toml": found.text,
            "name": found.name,
            "version": found.version,
            "effective_at": effective,
            "signed_by": sorted(signed_by or ()),
            "sweep": found.sweep,
            "unsigned": unsigned,
        },
    }
    line = checked_event(event, file)
    if line.envelope is None:
        raise DataError(f"{file}: {line.problem}")
    with Publisher(settings) as publisher:
        publisher.send(message(settings, event, line.envelope, "avro"))
    say(f"{found.name}@{found.version} is published, in force from {instant(effective)}")


@cache
def packaged_default() -> Definition:
    """The definition that works on day one."""
    return load(_default_text(), origin=DEFAULT_NAME)


def read_definition(file: str) -> Definition:
    """A definition file, or the packaged one for ``default``; what it leaves out is taken from that.

    :raises UserError: it has mistakes: one line for each.
    """
    if file == DEFAULT and not Path(file).exists():
        return packaged_default()
    try:
        return load(read_text(Path(file), "definition"), origin=file, base=packaged_default())
    except DefinitionError as error:
        raise UserError(str(error)) from None


def configured(settings: Settings) -> Definition:
    """The definition of the settings: a file's, or the packaged one.

    :raises UserError: it has mistakes.
    """
    return read_definition(settings.definition or DEFAULT)


def _default_text() -> str:
    return files("processors.definition").joinpath(DEFAULT_NAME).read_text(encoding="utf-8")


def _approved(found: Definition, signed: set[str], unsigned: bool) -> None:
    unknown = sorted(signed - set(found.approvals))
    if unknown:
        raise UserError(
            f"--signed-by {', '.join(unknown)}: {found.name} asks for the approval of "
            f"{', '.join(found.approvals)}; correct the name, or `approvals` in the definition"
        )
    missing = [team for team in found.approvals if team not in signed]
    if missing and not unsigned:
        options = " ".join(f"--signed-by {team}" for team in missing)
        raise UserError(
            f"{found.name}@{found.version} has no approval of {', '.join(missing)}; let them read "
            f"`leadstream definition show` and add {options}, or publish it --unsigned"
        )


def _newer(settings: Settings, found: Definition) -> None:
    """A version says one thing for ever: the same number again must be the same text."""
    for entry in latest_reference(settings).values():
        payload = entry.get("payload", {})
        if entry.get("type") != "definition_published" or payload.get("name") != found.name:
            continue
        if int(payload["version"]) >= found.version and payload["toml"] != found.text:
            raise UserError(
                f"{found.name}@{payload['version']} is published already and differs from this "
                f"{found.name}@{found.version}; give it a higher version than any before"
            )
