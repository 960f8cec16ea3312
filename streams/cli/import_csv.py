"""``leadstream import``: CSV files to events, by a mapping."""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Annotated

import msgspec
import typer

from streams.cli.console import (
    WRONG,
    AsJson,
    DataError,
    UserError,
    print_json,
    progress,
    read_text,
    say,
    settings_of,
)
from streams.cli.events import checked_event, not_ahead
from streams.cli.publish import KeepGoing, WireFormat, publish_lines, wire_format
from streams.clock import Clock, clock_of
from streams.sources.csv_import import CsvMapping, MappingError, RowError, packaged_mapping

_SHOWN = 20


def register(app: typer.Typer) -> None:
    @app.command("import")
    def import_(
        context: typer.Context,
        files: Annotated[
            list[Path] | None, typer.Argument(metavar="CSV...", help="CSV files, or folders of them.")
        ] = None,
        mapping: Annotated[
            str | None,
            typer.Option(
                "--mapping", "-m", help="Mapping file (TOML), or the name of a packaged one: olist."
            ),
        ] = None,
        out: Annotated[
            Path | None, typer.Option("--out", "-o", help="Write NDJSON here instead of to stdout.")
        ] = None,
        publish: Annotated[bool, typer.Option("--publish", help="Publish the events to Kafka.")] = False,
        keep_going: KeepGoing = False,
        format_: WireFormat = "avro",
        as_json: AsJson = False,
        example: Annotated[bool, typer.Option("--example", help="Print a mapping to begin with.")] = False,
    ) -> None:
        """Make events of CSV files: as NDJSON, or published.

        History calls nobody: events are marked as back-fill unless the mapping says otherwise.

        Example: [bold]leadstream import leads.csv deals.csv --mapping crm.toml --out events.ndjson[/bold]

        Example: [bold]leadstream import data/olist --mapping olist --publish[/bold]

        The mapping says which columns make which events; --example prints one with explanations.
        """
        if example:
            typer.echo(packaged_mapping("olist"))
            return
        if not files or mapping is None:
            raise UserError("give CSV files and --mapping; `leadstream import --example` prints a mapping")
        wire = wire_format(format_)
        paths = _csv_files(files)
        try:
            plan = CsvMapping(_mapping_text(mapping), mapping)
            with _target(out, publish) as (target, name):
                clock = clock_of(settings_of(context)) if publish else None
                made, bad = _convert(plan, paths, target, clock, keep_going=keep_going, quiet=as_json)
        except MappingError as error:
            raise UserError(str(error)) from None
        except RowError as error:
            raise DataError(str(error)) from None
        counts = {"events": dict(sorted(made.items())), "bad": bad}
        if publish:
            try:
                publish_lines(
                    settings_of(context), name, wire, keep_going=False, as_json=as_json, label="events"
                )
            finally:
                if out is None:
                    Path(name).unlink(missing_ok=True)
        elif as_json and out is not None:
            print_json(counts)
        said = ", ".join(f"{count:,} {type_}" for type_, count in sorted(made.items())) or "no rows"
        say(f"{made.total():,} events ({said})" + (f", {bad:,} bad rows skipped" if bad else ""))
        if bad:
            raise typer.Exit(WRONG)


def _mapping_text(name: str) -> str:
    path = Path(name)
    if not path.exists() and (text := packaged_mapping(name)) is not None:
        return text
    return read_text(path, "mapping")


def _csv_files(given: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(path.glob("*.csv"))
            if not inside:
                raise UserError(f"{path}: no *.csv in this folder")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file")
    return found


@contextmanager
def _target(out: Path | None, publish: bool) -> Iterator[tuple[IO[bytes], str]]:
    """Where NDJSON goes. A file comes into being whole or not at all."""
    if out is None and not publish:
        yield sys.stdout.buffer, ""
        sys.stdout.buffer.flush()
        return
    folder = out.parent if out else None
    if folder and not folder.is_dir():
        raise UserError(f"{out}: there is no folder {folder}")
    if out and out.is_dir():
        raise UserError(f"{out}: is a folder; name a file in it")
    with _draft(folder) as handle:
        draft = Path(handle.name)
        try:
            yield handle, str(out or draft)
        except BaseException:
            draft.unlink()
            raise
    if out:
        draft.chmod(0o644)
        draft.replace(out)


def _draft(folder: Path | None) -> IO[bytes]:
    """:raises UserError: nothing can be written there."""
    try:
        return tempfile.NamedTemporaryFile(dir=folder, suffix=".ndjson", delete=False)
    except OSError as error:
        where = folder or tempfile.gettempdir()
        raise UserError(f"{where}: {error.strerror}; name a folder that can be written") from None


def _convert(
    plan: CsvMapping,
    paths: list[Path],
    target: IO[bytes],
    clock: Clock | None,
    *,
    keep_going: bool,
    quiet: bool,
) -> tuple[Counter[str], int]:
    """Write all events of the files; counts by type, and the number of bad rows.

    :param clock: of the workers, where the events are for them.
    :raises DataError: there are bad rows, and not ``keep_going``.
    """
    made: Counter[str] = Counter()
    bad = 0
    encode = msgspec.json.Encoder().encode
    with progress(quiet) as bar:
        for path in paths:
            task = bar.add_task(f"reading {path.name}", total=None)
            for mapped in plan.events(path):
                problem = str(mapped.error) if mapped.error else ""
                if not problem:
                    place = f"{mapped.file}:{mapped.line}: {mapped.event['type']}"
                    line = checked_event(mapped.event, place)
                    if clock is not None:
                        line = not_ahead(line, clock.now_ms())
                    problem = f"{line.place}: {line.problem}" if line.problem else ""
                if problem:
                    bad += 1
                    if bad <= _SHOWN:
                        say(problem)
                    continue
                # After a bad row only checking goes on, unless the good rows are wanted by themselves.
                if keep_going or not bad:
                    target.write(encode(mapped.event) + b"\n")
                made[mapped.event["type"]] += 1
                bar.advance(task)
    if bad and not keep_going:
        raise DataError(
            f"{bad:,} bad rows; mend them or the mapping, or skip them by --keep-going"
            if bad != 1
            else "1 bad row; mend it or the mapping, or skip it by --keep-going"
        )
    return made, bad
