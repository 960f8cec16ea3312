"""``leadstream publish``: NDJSON events to their topics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.console import (
    WRONG,
    AsJson,
    DataError,
    UserError,
    print_json,
    progress,
    say,
    settings_of,
)
from streams.cli.events import STDIN, Format, Line, lines, message, not_ahead, prepare_codec
from streams.clock import clock_of
from streams.kafka_tools import KafkaToolError, Publisher
from streams.settings import Settings

_SHOWN = 20  # bad lines that are told one by one

KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Skip bad lines and publish the others; exit 1 at the end.")
]
WireFormat = Annotated[
    str, typer.Option("--format", help="avro (Confluent framing) or json.", metavar="avro|json")
]


def register(app: typer.Typer) -> None:
    @app.command()
    def publish(
        context: typer.Context,
        file: Annotated[
            str, typer.Argument(metavar="[FILE|-]", help="NDJSON of events; - is stdin.")
        ] = STDIN,
        keep_going: KeepGoing = False,
        format_: WireFormat = "avro",
        as_json: AsJson = False,
    ) -> None:
        """Check events, then publish each to the topic of its type, keyed by its subject.

        A file is checked whole first: with one bad line nothing is published. Stdin is published as it
        comes, up to the first bad line.

        One event is one line, such as
        {"type": "page_viewed", "occurred_at": "2026-11-22T10:00:00Z", "source_system": "web", "subject":
        {"lead_id": "lead-1"}, "payload": {"url": "https://example.com/pricing"}}

        Example: [bold]leadstream publish events.ndjson[/bold]
        """
        settings = settings_of(context)
        if file != STDIN and not Path(file).is_file():
            raise UserError(f"{file}: no such file; - reads from stdin")
        publish_lines(settings, file, wire_format(format_), keep_going=keep_going, as_json=as_json)


def wire_format(text: str) -> Format:
    """:raises UserError: there is no such format."""
    if text == "avro":
        return "avro"
    if text == "json":
        return "json"
    raise UserError(f"--format {text!r}: there are avro and json")


def publish_lines(
    settings: Settings, source: str, format_: Format, *, keep_going: bool, as_json: bool, label: str = ""
) -> None:
    """Publish an NDJSON file (or stdin) and print the counts.

    :raises DataError: a bad line, and not ``keep_going``; of a file nothing was published then.
    """
    prepare_codec(settings)
    total = None
    if source != STDIN and not keep_going:
        total = _check_all(_lines(settings, source), source)
    bad = 0
    sent: Counter[str] = Counter()
    stopped = None
    with Publisher(settings) as publisher, progress(as_json) as bar:
        task = bar.add_task(f"publishing {label or source}", total=total)
        for line in _lines(settings, source):
            if line.envelope is None or line.problem:
                bad += 1
                stopped = f"{line.place}: {line.problem}"
                if not keep_going:
                    break
                if bad <= _SHOWN:
                    say(stopped)
                continue
            record = message(settings, line.event, line.envelope, format_)
            publisher.send(record)
            sent[record.topic] += 1
            bar.advance(task)
        publisher.flush()
    if publisher.acknowledged != sent.total():
        raise KafkaToolError(f"{publisher.acknowledged} of {sent.total()} records were acknowledged")
    if as_json:
        print_json({"published": dict(sorted(sent.items())), "bad": bad})
    else:
        for topic, count in sorted(sent.items()):
            typer.echo(f"{count:>9,} {topic}")
        say(f"{sent.total():,} published" + (f", {bad:,} bad lines skipped" if bad and keep_going else ""))
    if bad and not keep_going:
        raise DataError(f"{stopped}; stopped there, {sent.total():,} events before it are published")
    if bad:
        raise typer.Exit(WRONG)


def _lines(settings: Settings, source: str) -> Iterator[Line]:
    """The lines, checked as workers of these settings will."""
    clock = clock_of(settings)
    return (not_ahead(line, clock.now_ms()) for line in lines(source))


def _check_all(found: Iterator[Line], source: str) -> int:
    good, bad = 0, 0
    for line in found:
        if line.problem:
            bad += 1
            if bad <= _SHOWN:
                say(f"{line.place}: {line.problem}")
        else:
            good += 1
    if bad:
        raise DataError(
            f"{source}: {bad:,} of {good + bad:,} lines are bad, nothing was published; "
            f"mend them, or skip them by --keep-going"
        )
    return good
