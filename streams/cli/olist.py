"""``leadstream olist``: real leads through import and replay, compared with an independent count."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from streams import olist
from streams.cli.console import (
    WRONG,
    AsJson,
    DataError,
    UserError,
    instant,
    print_json,
    print_table,
    progress,
    say,
    settings_of,
)
from streams.cli.replay import definition_of
from streams.sources.csv_import import MappingError, RowError


def register(app: typer.Typer) -> None:
    @app.command("olist")
    def olist_(
        context: typer.Context,
        data: Annotated[
            Path, typer.Option("--data", metavar="FOLDER", help="Folder with olist's two CSV files.")
        ],
        definition: Annotated[
            str, typer.Option("--definition", "-d", help="Another definition (TOML) than the packaged one.")
        ] = "olist",
        as_json: AsJson = False,
    ) -> None:
        """Import olist's leads and deals, fold them offline, and compare every figure with an independent count of
        the same files. Exit 1 if any differs.

        Example: [bold]leadstream olist --data data/olist[/bold]
        """
        try:
            files = olist.csv_files(data)
        except olist.MissingError as error:
            raise UserError(str(error)) from None
        settings, chosen = settings_of(context), definition_of(settings_of(context), definition)
        with tempfile.TemporaryDirectory() as folder, progress(as_json) as bar:
            events = Path(folder) / "events.ndjson"
            importing, folding = bar.add_task("import", total=None), bar.add_task("replay", total=None)
            try:
                made = olist.import_events(files, events, lambda n: bar.update(importing, completed=n))
            except (RowError, MappingError) as error:
                raise DataError(str(error)) from None
            done = olist.fold_events(
                settings, chosen, events, lambda n, total: bar.update(folding, completed=n, total=total)
            )
        if done.dead:
            first = done.examples[0]
            raise DataError(f"{done.dead.total()} of {made} events were refused, the first: {first.detail}")
        found = olist.compare(olist.count_report(done), olist.count_files(*files))
        same = all(figure.equal for figure in found)
        if as_json:
            print_json(
                {
                    "as_of": done.as_of,
                    "events": made,
                    "definition": f"{chosen.name}@{chosen.version}",
                    "figures": [
                        {
                            "figure": f.figure,
                            "leadstream": _number(f.leadstream),
                            "independent": _number(f.independent),
                            "equal": f.equal,
                        }
                        for f in found
                    ],
                    "equal": same,
                }
            )
        else:
            print_table(
                ("figure", "leadstream", "independent", "equal"),
                (
                    (
                        f.figure,
                        olist.shown(f.leadstream),
                        olist.shown(f.independent),
                        "yes" if f.equal else "NO",
                    )
                    for f in found
                ),
            )
        differing = sum(not f.equal for f in found)
        say(
            f"{made:,} events as of {instant(done.as_of)}: "
            + (
                f"all {len(found)} figures are equal"
                if same
                else f"{differing} of {len(found)} figures differ"
            )
        )
        if not same:
            raise typer.Exit(WRONG)


def _number(value: olist.Value) -> int | float | None:
    return value if value is None or isinstance(value, int) else float(value)
