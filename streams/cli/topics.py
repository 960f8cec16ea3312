"""``leadstream topics``: create the declared topics, compare the real ones with the declaration."""

from __future__ import annotations

from typing import Annotated

import typer

from streams import topics
from streams.cli.console import WRONG, AsJson, print_json, print_table, progress, say, settings_of
from streams.kafka_tools import Admin

commands = typer.Typer(help="Create and check the topics.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="topics")


@commands.command()
def create(
    context: typer.Context,
    keep_timestamps: Annotated[
        bool,
        typer.Option(
            "--keep-timestamps",
            help="Inputs keep publishers' record timestamps (CreateTime): for simulations, copies of logs.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Create the topics that are missing. Existing ones are not touched.

    Example: [bold]LEADSTREAM_PARTITIONS=16 leadstream topics create[/bold]
    """
    settings = settings_of(context)
    with Admin(settings) as admin, progress(as_json) as bar:
        task = bar.add_task("creating topics", total=len(topics.declared(settings)))
        made = topics.create(
            admin,
            settings,
            timestamps="CreateTime" if keep_timestamps else "LogAppendTime",
            progress=lambda _: bar.advance(task),
        )
    if as_json:
        print_json({"created": made})
        return
    for name in made:
        typer.echo(f"created {name}")
    say(f"{len(made)} created, {len(topics.declared(settings)) - len(made)} were there")


@commands.command()
def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Compare partitions, replication and configuration with the declaration; exit 1 on errors.

    Example: [bold]leadstream topics check --json[/bold]
    """
    settings = settings_of(context)
    with Admin(settings) as admin:
        problems = topics.check(admin, settings)
    if as_json:
        print_json([problem._asdict() for problem in problems])
    elif problems:
        print_table(("", "topic", "what is wrong", "how to mend it"), problems)
    else:
        typer.echo(f"{len(topics.declared(settings))} topics are as declared")
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(WRONG)
