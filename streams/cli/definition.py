"""``leadstream definition``: check, read, compare and publish the one agreed definition."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from processors.agreement import Standing, digest
from processors.definition.compare import compare
from processors.definition.load import DEFAULT_NAME, DefinitionError, load
from processors.definition.model import Definition
from processors.definition.plain import plain
from processors.reference import Reference
from streams import state_reader
from streams.cli.console import (
    AsJson,
    DataError,
    UserError,
    instant,
    instant_ms,
    print_json,
    print_table,
    read_text,
    say,
    settings_of,
)
from streams.cli.events import checked_event, message, prepare_codec
from streams.clock import clock_of
from streams.kafka_tools import Publisher
from streams.settings import Settings

commands = typer.Typer(
    help="Check, show, compare, publish and approve the definition of the process.", no_args_is_help=True
)
DEFAULT = "default"  # what a user calls the packaged definition
_VERSION = re.compile(r"(.+)@(\d+)")

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
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE|NAME@VERSION]",
            help="A definition, or a published version; left out: the one of the settings.",
        ),
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="Its TOML instead of plain language.")] = False,
) -> None:
    """Print a definition in plain language, as both teams read and sign it.

    Example: [bold]leadstream definition show ours@2[/bold]
    """
    settings = settings_of(context)
    if what is None:
        found = configured(settings)
    elif (named := _named(what)) is not None:
        stands = _standing(settings, _published(settings), *named)
        found = stands.definition
        if not toml:
            typer.echo(f"**{_state(stands)}**\n")
    else:
        found = read_definition(what)
    typer.echo((found.text if toml else plain(found)).rstrip())


@commands.command()
def diff(
    context: typer.Context,
    old: Annotated[str, typer.Argument(metavar="A", help="A definition (TOML), NAME@VERSION or `default`.")],
    new: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two definitions, in plain language.

    Example: [bold]leadstream definition diff ours@1 ours.toml[/bold]
    """
    changes = compare(_any(context, old), _any(context, new))
    if as_json:
        print_json(changes)
        return
    for change in changes:
        typer.echo(change)


@commands.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """List every version: what was published when, who approved it, and from when it holds.

    Example: [bold]leadstream definition list[/bold]
    """
    settings = settings_of(context)
    found = _published(settings).standings(clock_of(settings).now_ms())
    if as_json:
        print_json([_described(each) for each in found])
        return
    columns = ("definition", "state", "published", "in force from", "approved by", "sweep")
    print_table(columns, map(_cells, found))


@commands.command()
def publish(
    context: typer.Context,
    file: _File,
    signed_by: Annotated[
        list[str] | None,
        typer.Option("--signed-by", help="A team that has approved already; once per team."),
    ] = None,
    unsigned: Annotated[
        bool, typer.Option("--unsigned", help="In force without the teams' approval; it is shown so.")
    ] = False,
    effective_at: Annotated[
        str | None,
        typer.Option(
            "--effective-at", help="In force from this instant (ISO with zone); left out: from now."
        ),
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option(
            "--sweep", help="Look at every lead anew, spread over business hours, not only at events."
        ),
    ] = False,
    by: Annotated[str, typer.Option("--by", help="Id of who publishes, not an e-mail address.")] = "",
) -> None:
    """Publish a definition to all workers. It takes effect once each team that it names has approved.

    Example: [bold]leadstream definition publish ours.toml --signed-by marketing --effective-at 2026-12-01T00:00:00Z[/bold]
    """
    settings = settings_of(context)
    prepare_codec(settings)
    found = read_definition(file)
    signed = sorted(set(signed_by or ()))
    _known_teams(found, signed)
    now = clock_of(settings).now_ms()
    effective = max(found.effective_at, now)
    if effective_at is not None:
        effective = instant_ms(effective_at, "--effective-at")
        if effective < now:
            raise UserError(
                f"--effective-at {effective_at} is in the past: a definition judges nobody backwards; "
                f"leave it out to begin now"
            )
    _newer(_published(settings), found)
    payload = {
        "toml": found.text,
        "name": found.name,
        "version": found.version,
        "effective_at": effective,
        "signed_by": signed,
        "sweep": sweep or found.sweep,
        "unsigned": unsigned,
    }
    _send(settings, "definition_published", payload, now, _id(by) if by else "")
    _tell(settings, found.name, found.version)


@commands.command()
def approve(
    context: typer.Context,
    version: Annotated[str, typer.Argument(metavar="NAME@VERSION", help="The published version.")],
    team: Annotated[str, typer.Option("--team", help="The team that approves, as the definition names it.")],
    by: Annotated[str, typer.Option("--by", help="Id of who says so for the team, not an e-mail address.")],
) -> None:
    """Approve a published definition for a team. With the last team's approval it takes effect.

    Example: [bold]leadstream definition approve ours@2 --team sales --by owner-1[/bold]
    """
    named = _named(version)
    if named is None:
        raise UserError(
            f"{version}: write NAME@VERSION as `leadstream definition list` shows it, e.g. ours@2"
        )
    settings = settings_of(context)
    prepare_codec(settings)
    stands = _standing(settings, _published(settings), *named)
    found = stands.definition
    _known_teams(found, [team], "--team")
    if not stands.missing:
        raise UserError(f"{version} waits for nobody's approval: {_state(stands)}")
    if team not in stands.missing:
        raise UserError(f"{team} has approved {version} already; it waits for {', '.join(stands.missing)}")
    payload = {
        "name": found.name,
        "version": found.version,
        "team": team,
        "by": _id(by),
        "digest": digest(found.text),
    }
    _send(settings, "definition_approved", payload, clock_of(settings).now_ms(), _id(by))
    _tell(settings, found.name, found.version)


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


def _named(what: str) -> tuple[str, int] | None:
    """Name and version, if that is what a person means; a file of that name comes first."""
    match = _VERSION.fullmatch(what)
    return None if match is None or Path(what).exists() else (match[1], int(match[2]))


def _any(context: typer.Context, what: str) -> Definition:
    named = _named(what)
    if named is None:
        return read_definition(what)
    settings = settings_of(context)
    return _standing(settings, _published(settings), *named).definition


def _published(settings: Settings) -> Reference:
    """What the reference topic says now, as a worker would read it."""
    return state_reader.topology(settings).reference


def _standing(settings: Settings, reference: Reference, name: str, version: int) -> Standing:
    """:raises UserError: there is no such version."""
    known = reference.standings(clock_of(settings).now_ms())
    for each in reversed(known):
        if (each.definition.name, each.definition.version) == (name, version):
            return each
    there_are = ", ".join(f"{each.definition.name}@{each.definition.version}" for each in known)
    raise UserError(f"no definition {name}@{version} was published; there are {there_are}")


def _state(stands: Standing) -> str:
    d = stands.definition
    called = f"{d.name}@{d.version} is "
    if stands.missing:
        options = " and ".join(
            f"`leadstream definition approve {d.name}@{d.version} --team {team} --by ID`"
            for team in stands.missing
        )
        return f"{called}proposed: it takes effect once {', '.join(stands.missing)} approved, by {options}"
    unsigned = ", unsigned" if d.unsigned else ""
    if stands.state == "overtaken":
        return f"{called}overtaken{unsigned}: a newer version came into force first"
    since = f"from {instant(d.effective_at)}" if d.published_at else "from the beginning"
    return f"{called}{stands.state}{unsigned}, {since}"


def _tell(settings: Settings, name: str, version: int) -> None:
    say(_state(_standing(settings, _published(settings), name, version)))


def _described(stands: Standing) -> dict[str, Any]:
    d = stands.definition
    return {
        "name": d.name,
        "version": d.version,
        "state": stands.state,
        "published_at": d.published_at or None,
        "effective_at": None if stands.missing else d.effective_at,
        "approvals": [{"team": s.team, "by": s.by, "at": s.at} for s in d.signatures],
        "missing": list(stands.missing),
        "unsigned": d.unsigned,
        "sweep": d.sweep,
    }


def _cells(stands: Standing) -> tuple[str, ...]:
    d = stands.definition
    approved = [f"{s.team} ({s.by})" if s.by else s.team for s in d.signatures]
    waits = [f"waits for {', '.join(stands.missing)}"] if stands.missing else []
    return (
        f"{d.name}@{d.version}",
        stands.state + (", unsigned" if d.unsigned else ""),
        instant(d.published_at) if d.published_at else "(from the settings)",
        "" if stands.missing else instant(d.effective_at) if d.published_at else "the beginning",
        "; ".join(approved + waits),
        "yes" if d.sweep else "",
    )


def _id(text: str) -> str:
    if not text.strip() or "@" in text:
        raise UserError(f"--by {text!r}: write an id such as owner-1, not an e-mail address")
    return text.strip()


def _known_teams(found: Definition, teams: list[str], option: str = "--signed-by") -> None:
    unknown = sorted(set(teams) - set(found.approvals))
    if unknown:
        raise UserError(
            f"{option} {', '.join(unknown)}: {found.name} asks for the approval of "
            f"{', '.join(found.approvals) or 'nobody'}; correct the name, or `approvals` in the definition"
        )


def _newer(reference: Reference, found: Definition) -> None:
    """A version says one thing for ever: each publication needs a number of its own."""
    taken = [each.definition for each in reference.standings(0) if each.definition.published_at]
    newest = max((d.version for d in taken if d.name == found.name), default=0)
    if found.version <= newest:
        raise UserError(
            f"{found.name}@{newest} is published already, so there can be no {found.name}@{found.version} any more; "
            f"give it a higher version than any before"
        )


def _send(settings: Settings, type_: str, payload: dict[str, Any], now: int, by: str) -> None:
    event: dict[str, Any] = {
        "type": type_, "occurred_at": now, "source_system": "leadstream-cli", "payload": payload,
    }  # fmt: skip
    if by:
        event["actor"] = {"type": "human", "id": by}
    line = checked_event(event, type_)
    if line.envelope is None:
        raise DataError(line.problem)
    with Publisher(settings) as publisher:
        publisher.send(message(settings, event, line.envelope, "avro"))
