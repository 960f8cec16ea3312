"""What every command shares: its settings, one-line errors, tables, progress and JSON.

Results go to stdout, everything else (errors, progress, notices) to stderr, so that output can be piped.
Exit codes: 0 done, 1 something is wrong with the world (broker, data), 2 a mistake of the user.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from typer.core import TyperGroup

from processors.definition.reader import DefinitionError
from streams.clock import iso
from streams.errors import WorkerError
from streams.kafka_tools import KafkaToolError
from streams.settings import Settings, SettingsError, load

WRONG, MISUSED = 1, 2
#: What nobody has put into words: still one line, never a traceback. The errors of Typer are none of these.
_UNFORESEEN = (
    OSError, ValueError, LookupError, TypeError, RuntimeError, ArithmeticError, AttributeError, AssertionError,
    MemoryError,
)  # fmt: skip
#: Instants that people can mean: from 1970 to the end of 9999.
_LAST_MS = 253_402_300_799_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


class UserError(Exception):
    """A mistake of the user: the text says what, where, and what to do. Exit code 2."""


class DataError(Exception):
    """The command was right, the world is not: bad data, a missing topic. Exit code 1."""


class Invocation:
    """What the options before the command said."""

    def __init__(self, config: Path | None, debug: bool) -> None:
        self.config = config
        self.debug = debug

    @cached_property
    def settings(self) -> Settings:
        return load(self.config)


class ErrorsInOneLine(TyperGroup):
    """Turns expected exceptions into a line on stderr and an exit code; ``--debug`` lets them through."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _untyped_flags(self)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (UserError, SettingsError, DefinitionError) as error:
            _give_up(ctx, error, MISUSED)
        except (DataError, KafkaToolError, WorkerError) as error:
            _give_up(ctx, error, WRONG)
        except BrokenPipeError:
            # The reader of a pipe (head) has seen enough. Keep Python from failing again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
        except _UNFORESEEN as error:
            if isinstance(error, typer.Exit | typer.Abort):
                raise
            _give_up(ctx, error, WRONG, f"{type(error).__name__}: {error} (--debug shows where)")


def _untyped_flags(command: Any) -> None:
    """Help shows a type behind each option. A flag takes no value, and "--publish <bool>" asks for one."""
    for option in command.params:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    for inner in getattr(command, "commands", {}).values():
        _untyped_flags(inner)


def _give_up(ctx: Any, error: Exception, code: int, text: str | None = None) -> NoReturn:
    invocation = ctx.obj
    if isinstance(invocation, Invocation) and invocation.debug:
        raise error
    for line in (text or str(error)).splitlines():
        typer.secho(f"error: {line}", err=True, fg="red")
    raise typer.Exit(code) from None


def invocation(context: typer.Context) -> Invocation:
    found = context.find_root().obj
    assert isinstance(found, Invocation)
    return found


def settings_of(context: typer.Context) -> Settings:
    """The settings of this run.

    :raises SettingsError: they cannot be used.
    """
    return invocation(context).settings


def say(text: str) -> None:
    """A notice for people, on stderr."""
    typer.echo(text, err=True)


def print_json(value: object) -> None:
    """One JSON document, indented."""
    typer.echo(msgspec.json.format(msgspec.json.encode(_plain(value)), indent=2).decode())


def print_line(value: object) -> None:
    """One line of JSON."""
    typer.echo(msgspec.json.encode(_plain(value)).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """A table; wide ones are wrapped on a terminal and whole in a pipe."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    out = Console(markup=False, highlight=False, soft_wrap=False)
    if not out.is_terminal:
        out = Console(markup=False, highlight=False, width=400)
    out.print(table)


def columns() -> int | None:
    """How wide the terminal is; None where stdout is none."""
    out = Console()
    return out.width if out.is_terminal else None


def progress(quiet: bool = False) -> Progress:
    """A progress bar on stderr; nothing where stderr is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=quiet or not sys.stderr.isatty(),
    )


def instant(ms: int | None) -> str:
    """As `clock.iso`; nothing for None."""
    return "" if ms is None else iso(ms)


def instant_ms(text: str, what: str) -> int:
    """An instant given by a person: ISO with its zone, or epoch milliseconds.

    :raises UserError: it is neither, or lies outside of the years 1970 to 9999.
    """
    if text.isascii() and text.isdigit():
        ms = int(text)
    else:
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            when = None
        if when is None or when.tzinfo is None:
            raise UserError(f"{what} {text!r}: write an ISO instant with its zone, e.g. 2026-11-22T10:00:00Z")
        ms = (when - _EPOCH) // timedelta(milliseconds=1)
    if not 0 <= ms <= _LAST_MS:
        raise UserError(
            f"{what} {text!r}: outside of the years 1970 to 9999; write an instant such as 2026-11-22T10:00:00Z"
        )
    return ms


def read_text(path: Path, what: str) -> str:
    """The text of a file that the user named.

    :raises UserError: it is missing or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: no such {what}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}; save the {what} as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _plain(value: object) -> object:
    """Bytes as text where they are text, else as base64 under a name that says so."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": msgspec.json.decode(msgspec.json.encode(value))}
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, msgspec.Struct):
        return _plain(msgspec.structs.asdict(value))
    return value
