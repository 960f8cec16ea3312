"""``leadstream replay``: events of a file folded offline, without a broker."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer
from msgspec.structs import replace as changed

from processors.definition.load import DefinitionError, load
from processors.definition.model import Definition
from schemas import codec
from streams.cli.console import (
    WRONG,
    AsJson,
    DataError,
    UserError,
    instant,
    instant_ms,
    print_json,
    progress,
    say,
    settings_of,
)
from streams.cli.definition import configured, packaged_default, read_definition
from streams.cli.events import STDIN
from streams.cli.figures import known_figures, parse_period, plain_values, print_report, split_labels
from streams.clock import clock_of
from streams.replay import Lines, Replayed, file_lines, replay, spooled
from streams.settings import Settings
from streams.work import Message

WithDefinition = Annotated[
    str | None,
    typer.Option(
        "--definition", "-d", help="Definition (TOML), or a packaged one: default, olist; else the settings'."
    ),
]


def register(app: typer.Typer) -> None:
    @app.command("replay")
    def replay_(
        context: typer.Context,
        file: Annotated[
            str, typer.Argument(metavar="FILE|-", help="Events, NDJSON in wire form; - for stdin.")
        ],
        definition: WithDefinition = None,
        as_of: Annotated[
            str | None,
            typer.Option(
                "--as-of", help="As of this instant (ISO with zone, or ms); else the newest event's."
            ),
        ] = None,
        partitions: Annotated[
            int | None,
            typer.Option("--partitions", min=1, max=1024, help="Else the settings'; figures are the same."),
        ] = None,
        outputs: Annotated[
            Path | None, typer.Option("--outputs", "-o", help="Write every output message here (NDJSON).")
        ] = None,
        by: Annotated[
            list[str] | None,
            typer.Option("--by", help="Split the figures, as `leadstream figures --by` does."),
        ] = None,
        period: Annotated[
            str | None, typer.Option("--period", help="Of this stretch of days only, e.g. 2026-10.")
        ] = None,
        figure: Annotated[
            list[str] | None, typer.Option("--figure", help="Only this figure; may be repeated.")
        ] = None,
        strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if any line was refused.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Fold a file of events as the workers would, and print the figures. Needs no broker.

        Lines that are no events are counted as dead letters, with their reasons. Events after --as-of are left out.

        Example: [bold]leadstream replay events.ndjson --definition ours.toml --as-of 2026-11-22T00:00:00Z[/bold]

        Example: [bold]leadstream import data/olist --mapping olist | leadstream replay - --definition olist[/bold]
        """
        labels, only, span = split_labels(by), known_figures(figure), parse_period(period)
        done = replayed(
            settings_of(context), file, definition=definition, as_of=as_of, partitions=partitions,
            outputs=outputs, quiet=as_json,
        )  # fmt: skip
        definitions = done.topology.definitions
        if as_json:
            values = done.report(by=labels, period=span, only=only)
            print_json(summary(done, file) | {"by": list(labels), "figures": plain_values(values)})
        else:
            print_report(
                done.totals, definitions, done.as_of, by=labels, period=span, only=only,
                market=done.topology.market, reference=done.topology.reference,
            )  # fmt: skip
        report_refused(done, file, quiet=as_json)
        if done.unfolded or (strict and done.dead):
            raise typer.Exit(WRONG)


def replayed(
    settings: Settings,
    file: str,
    *,
    definition: str | None = None,
    as_of: str | None = None,
    partitions: int | None = None,
    outputs: Path | None = None,
    quiet: bool = False,
) -> Replayed:
    """A file, or stdin, folded.

    :raises UserError: there is no such file, or the definition has mistakes; :raises DataError: it holds no events.
    """
    chosen = definition_of(settings, definition)
    at = None if as_of is None else instant_ms(as_of, "--as-of")
    latest = clock_of(settings).now_ms() if at is None else None
    with _lines(file) as lines, _sink(outputs) as sink, progress(quiet) as bar:
        task = bar.add_task(f"folding {file}", total=None)

        def told(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        done = replay(
            settings, chosen, lines, as_of=at, latest=latest, partitions=partitions, sink=sink, progress=told
        )
    if not done.accepted and not done.later:
        reason = f"; line {done.examples[0].line}: {done.examples[0].detail}" if done.examples else ""
        raise DataError(f"{file}: no event was accepted{reason}")
    return done


def definition_of(settings: Settings, given: str | None) -> Definition:
    """A definition file, a packaged definition by its name, or that of the settings; in force from the beginning.

    :raises UserError: it is not there or has mistakes.
    """
    if given is None:
        found = configured(settings)
    elif (
        not Path(given).exists()
        and (packaged := files("streams.sources") / given / "definition.toml").is_file()
    ):
        try:
            found = load(
                packaged.read_text("utf-8"), origin=f"{given}/definition.toml", base=packaged_default()
            )
        except DefinitionError as error:
            raise UserError(str(error)) from None
    else:
        found = read_definition(given)
    return changed(found, effective_at=0)


@contextmanager
def _lines(file: str) -> Iterator[Lines]:
    if file == STDIN:
        with spooled(sys.stdin.buffer) as lines:
            yield lines
        return
    path = Path(file)
    if not path.is_file():
        raise UserError(f"{file}: no such file; name a file of events (NDJSON), or - for stdin")
    yield file_lines(path)


@contextmanager
def _sink(path: Path | None) -> Iterator[Callable[[Message], None] | None]:
    if path is None:
        yield None
        return
    encode = msgspec.json.Encoder().encode
    with _created(path) as out:

        def write(message: Message) -> None:
            name, record = codec.decode_output(message.value or b"")
            out.write(encode({"topic": message.topic, "record": name, **record}) + b"\n")

        yield write


def _created(path: Path) -> BinaryIO:
    try:
        return path.open("wb")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a file that can be written") from None


def summary(done: Replayed, file: str) -> dict[str, object]:
    """What the file held, for ``--json``."""
    source = done.topology.definitions[-1].source
    return {
        "file": file,
        "as_of": instant(done.as_of),
        "definition": f"{source.name}@{source.version}",
        "time_zone": source.time_zone,
        "lines": done.lines,
        "accepted": done.accepted,
        "after_as_of": done.later,
        "market": len(done.market),
        "reference": len(done.reference),
        "types": dict(sorted(done.types.items())),
        "refused": {
            "lines": done.dead.total(),
            "codes": dict(sorted(done.dead.items())),
            "examples": [refused._asdict() for refused in done.examples],
        },
        "unfolded": done.unfolded,
        "outputs": dict(sorted(done.outputs.items())),
    }


def report_refused(done: Replayed, file: str, *, quiet: bool) -> None:
    """What was read and what was not taken, on stderr."""
    said = [f"{done.accepted:,} events as of {instant(done.as_of)}"]
    if done.later:
        said.append(f"{done.later:,} later ones left out")
    if done.market:
        said.append(f"{len(done.market):,} market events")
    if done.reference:
        said.append(f"{len(done.reference):,} reference events")
    if done.dead:
        said.append(f"{done.dead.total():,} lines refused")
    say(", ".join(said))
    if done.unfolded:
        say(
            f"{done.unfolded:,} times the fold of a subject failed (see above); the figures lack what it held"
        )
    if quiet:
        return
    for line, code, detail in done.examples:
        say(f"{file}:{line}: {detail} ({code})")
    if done.dead.total() > len(done.examples):
        codes = ", ".join(f"{code} {n:,}" for code, n in done.dead.most_common())
        say(f"... in all: {codes}")
