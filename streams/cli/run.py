"""``leadstream worker``."""

from __future__ import annotations

import typer

from streams.cli.console import settings_of


def register(app: typer.Typer) -> None:
    @app.command()
    def worker(context: typer.Context) -> None:
        """Run a worker until SIGTERM or Ctrl-C. Start one per core; they share the partitions.

        Example: [bold]LEADSTREAM_WEB_PORT=8601 leadstream worker[/bold]
        """
        settings = settings_of(context)
        # Faust takes most of a second to import, which the other commands need not pay.
        from streams.worker import run

        raise typer.Exit(run(settings) or 0)
