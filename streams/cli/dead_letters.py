"""``leadstream dead-letters``: what could not be processed, why, and where it had come from."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from streams.cli.console import AsJson, UserError, print_json, print_table, progress, say, settings_of
from streams.cli.decoding import decoded
from streams.kafka_tools import Reader
from streams.settings import Settings

commands = typer.Typer(help="Look at records that could not be processed.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="dead-letters")


@commands.command("list")
def list_(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 50,
    code: Annotated[str | None, typer.Option("--code", help="Only this reason, e.g. bad_json.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the newest dead letters: their id (partition:offset), the reason, where the original lies.

    Example: [bold]leadstream dead-letters list --code bad_avro[/bold]
    """
    newest: deque[dict[str, Any]] = deque(maxlen=limit)
    codes: Counter[str] = Counter()
    letters = [each for each in _letters(settings_of(context), quiet=as_json) if code in (None, each["code"])]
    for letter in sorted(letters, key=lambda each: str(each["timestamp"])):
        codes[str(letter["code"])] += 1
        newest.append(letter)
    if as_json:
        print_json([{k: v for k, v in each.items() if k != "value"} for each in newest])
        return
    print_table(
        ("id", "when", "code", "original", "key", "detail"),
        ((x["id"], x["timestamp"], x["code"], x["original"], x["key"], x["detail"]) for x in newest),
    )
    counts = ", ".join(f"{count} {name}" for name, count in codes.most_common())
    say(f"{codes.total()} dead letters{': ' + counts if counts else ''}")


@commands.command()
def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="partition:offset, as `list` shows it.")],
) -> None:
    """Print one dead letter whole, as JSON: the original bytes, headers and key, and the reason.

    Example: [bold]leadstream dead-letters show 3:17[/bold]
    """
    partition, colon, offset = id_.partition(":")
    if not (colon and partition.isdigit() and offset.isdigit()):
        raise UserError(
            f"{id_!r}: an id is partition:offset, e.g. 3:17; `leadstream dead-letters list` shows them"
        )
    for letter in _letters(settings_of(context), quiet=True, partition=int(partition)):
        if letter["id"] == id_:
            print_json(letter)
            return
    raise UserError(
        f"{id_}: no such dead letter; it may have expired. `leadstream dead-letters list` shows all"
    )


def _letters(settings: Settings, *, quiet: bool, partition: int | None = None) -> Iterator[dict[str, Any]]:
    with Reader(settings) as reader, progress(quiet) as bar:
        task = bar.add_task("reading dead letters", total=None)
        records = reader.read(
            [settings.topics.dead_letters],
            partitions=None if partition is None else [partition],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        for record in records:
            yield {"id": f"{record.partition}:{record.offset}", **decoded(settings, record)}
