"""The command line: ``leadstream COMMAND``. One module per group of commands; a new one is one name below."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from streams.cli.console import ErrorsInOneLine, Invocation

#: Modules with commands, in the order of ``leadstream --help``; each has ``register(app)``.
MODULES = (
    "demo",
    "simulate",
    "run",
    "topics",
    "publish",
    "import_csv",
    "figures",
    "serve",
    "replay",
    "inspect",
    "queue",
    "win_model",
    "olist",
    "restatements",
    "tail",
    "dead_letters",
    "privacy",
    "reference",
    "definition",
    "flood",
    "schemas",
    "settings",
    "doctor",
)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="leadstream",
        cls=ErrorsInOneLine,
        help="Turns events of marketing and sales into stages, handoffs, deadlines and live figures.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def _options(
        context: typer.Context,
        config: Annotated[
            Path | None,
            typer.Option(
                "--config", "-c", help="Settings file (TOML). Else LEADSTREAM_CONFIG, ./leadstream.toml"
            ),
        ] = None,
        debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    ) -> None:
        context.obj = Invocation(config, debug)

    for name in MODULES:
        importlib.import_module(f"{__name__}.{name}").register(app)
    return app


def main() -> None:
    """Entry point of ``leadstream``."""
    build()(prog_name="leadstream")
