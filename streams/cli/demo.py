"""``leadstream demo``: everything on this machine, with simulated traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from streams.cli.console import UserError, settings_of


def register(app: typer.Typer) -> None:
    @app.command()
    def demo(
        context: typer.Context,
        speed: Annotated[
            float, typer.Option("--speed", min=1, max=100_000, help="Simulated seconds per second.")
        ] = 600,
        seed: Annotated[int, typer.Option("--seed", help="Same seed, same company.")] = 1,
        leads_per_day: Annotated[
            float, typer.Option("--leads-per-day", min=1, max=2_000, help="Visitors who become leads.")
        ] = 25,
        weeks: Annotated[
            int, typer.Option("--weeks", min=0, max=52, help="Weeks of history before the start.")
        ] = 9,
        workers: Annotated[int, typer.Option("--workers", min=1, max=8, help="Worker processes.")] = 2,
        data_dir: Annotated[
            Path | None,
            typer.Option("--data-dir", help="Keep Kafka's data and the logs here; else they are removed."),
        ] = None,
        once: Annotated[
            float | None, typer.Option("--once", min=0, help="End after so many seconds of traffic.")
        ] = None,
        plain: Annotated[
            bool, typer.Option("--plain", help="A line every few seconds, as where there is no terminal.")
        ] = False,
    ) -> None:
        """Start Apache Kafka, workers and simulated traffic, and show the live funnel; Ctrl-C ends it all.

        Needs Java 17+ and, the first time, Maven. While it runs, other commands in this folder find it.

        Example: [bold]leadstream demo --speed 600[/bold]
        """
        settings = settings_of(context)
        # The rest of the command line does without what a demo needs.
        from streams.demo.run import DemoRunsError, FolderError, Options, run
        from streams.local_kafka import LocalKafkaError

        options = Options(
            speed=speed,
            seed=seed,
            leads_per_day=leads_per_day,
            weeks=weeks,
            workers=workers,
            data_dir=data_dir,
            once_s=once,
            plain=plain,
        )
        try:
            code = run(settings, options)
        except (LocalKafkaError, DemoRunsError, FolderError) as error:
            raise UserError(str(error)) from None
        raise typer.Exit(code)
