"""``leadstream settings``: every setting, its value, where it came from and what it is for."""

from __future__ import annotations

import typer

from streams.cli.console import AsJson, invocation, print_json, print_table
from streams.settings import fields, load_with_origin, shown


def register(app: typer.Typer) -> None:
    @app.command("settings")
    def show(context: typer.Context, as_json: AsJson = False) -> None:
        """Print all settings, where each value comes from, and what it means. Secrets are masked.

        Example: [bold]LEADSTREAM_PARTITIONS=16 leadstream --config prod.toml settings[/bold]
        """
        loaded = load_with_origin(invocation(context).config)
        rows = []
        for field in fields():
            value = shown(field, loaded.settings)
            rows.append((field, value, loaded.origin[field.name]))
        if as_json:
            print_json(
                {
                    field.name: {
                        "value": value,
                        "from": origin,
                        "env": field.env,
                        "default": field.default,
                        "unit": field.unit,
                        "doc": field.doc,
                    }
                    for field, value, origin in rows
                }
            )
            return
        print_table(
            ("setting", "value", "unit", "from", "what it is"),
            ((f.name, "(empty)" if v == "" else v, f.unit, origin, f.doc) for f, v, origin in rows),
        )
