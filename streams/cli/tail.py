"""``leadstream tail``: any topic, decoded, as JSON lines."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from streams.cli.console import print_line, settings_of
from streams.cli.decoding import decoded, topic_name
from streams.cli.events import prepare_codec
from streams.kafka_tools import Reader


def register(app: typer.Typer) -> None:
    @app.command()
    def tail(
        context: typer.Context,
        topic: Annotated[
            str, typer.Argument(help="Name of a topic, or its key, e.g. handoffs, dead_letters.")
        ],
        from_beginning: Annotated[
            bool,
            typer.Option("--from-beginning", help="Everything that is there, then stop (see --follow)."),
        ] = False,
        follow: Annotated[
            bool, typer.Option("--follow", "-f", help="With --from-beginning: go on with what arrives.")
        ] = False,
        limit: Annotated[int, typer.Option("--limit", "-n", min=0, help="Stop after so many; 0: never.")] = 0,
        key: Annotated[
            str | None, typer.Option("--key", "-k", help="Only this record key or subject.")
        ] = None,
    ) -> None:
        """Print the records of a topic, decoded, one JSON object a line; only what was committed.

        Without options: what arrives from now on, until Ctrl-C.

        Example: [bold]leadstream tail handoffs --from-beginning --key lead-1[/bold]
        """
        settings = settings_of(context)
        prepare_codec(settings)
        printed = 0
        with Reader(settings) as reader:
            name = topic_name(settings, reader, topic)
            last = None if from_beginning else 0
            for record in reader.read([name], last=last, follow=follow or not from_beginning):
                shown = decoded(settings, record)
                if key is not None and not _about(shown, key):
                    continue
                print_line(shown)
                printed += 1
                if limit and printed >= limit:
                    return


def _about(shown: dict[str, Any], key: str) -> bool:
    named = ("key", "lead_id", "account_id", "handoff_id")
    return key in (*(shown.get(name) for name in named), *shown.get("subject", {}).values())
