"""``leadstream schemas``: the contracts of events and outputs."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from schemas import compatibility
from schemas.registry import ConfluentRegistry, SchemaError, packaged
from streams.cli.console import WRONG, AsJson, DataError, UserError, print_json, print_table, say, settings_of

commands = typer.Typer(help="List, show and check the schemas of events and outputs.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="schemas")


@commands.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every event and output: name, version, id, topic.

    Example: [bold]leadstream schemas list --json[/bold]
    """
    rows = [
        {
            "name": schema.name,
            "version": schema.version,
            "id": schema.id,
            "kind": schema.kind,
            "topic": schema.topic,
            "doc": schema.resolved.get("doc", ""),
        }
        for schema in packaged().written()
    ]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("name", "v", "id", "kind", "topic", "what it says"),
        (tuple(row.values()) for row in rows),
    )


@commands.command()
def show(
    name: Annotated[str, typer.Argument(help="Name, or name.vN for a version, e.g. page_viewed.v1.")],
) -> None:
    """Print a schema as it is written (references put in).

    Example: [bold]leadstream schemas show handoff > handoff.avsc[/bold]
    """
    registry = packaged()
    try:
        schema = registry.schemas[name] if name in registry.schemas else registry.latest(name)
    except KeyError:
        known = [*registry.schemas, *(schema.name for schema in registry.schemas.values())]
        close = difflib.get_close_matches(name, known, n=1)
        advice = f"did you mean {close[0]!r}?" if close else "`leadstream schemas list` shows all"
        raise UserError(f"no schema {name!r}; {advice}") from None
    print_json(schema.resolved)


@commands.command()
def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Check that every version reads every other one, that ids are complete, and, where a registry is
    set (registry_url), that it accepts them. Exit 1 if not.

    Example: [bold]LEADSTREAM_REGISTRY_URL=http://127.0.0.1:8081 leadstream schemas check[/bold]
    """
    settings = settings_of(context)
    try:
        problems = list(compatibility.check(packaged()))
        if settings.registry_url:
            ConfluentRegistry(settings.registry_url).preload(packaged())
    except SchemaError as error:
        raise DataError(str(error)) from None
    if as_json:
        print_json({"schemas": len(packaged().written()), "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        where = f"; {settings.registry_url} accepts them" if settings.registry_url else ""
        say(f"{len(packaged().written())} schemas, {len(problems)} problems{where}")
    if problems:
        raise typer.Exit(WRONG)
