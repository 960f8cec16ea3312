"""``leadstream restatements``: which final numbers have changed since, from what to what, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from processors.closing import FIGURES, MONEY
from processors.money import CURRENCIES
from processors.money import show as money
from processors.restate import CAUSES
from schemas.codec import decode_output
from schemas.envelope import Malformed
from streams.cli.console import (
    AsJson,
    UserError,
    instant,
    instant_ms,
    print_json,
    print_table,
    progress,
    say,
    settings_of,
)
from streams.cli.events import prepare_codec
from streams.kafka_tools import Reader
from streams.settings import Settings

#: Rows that are printed unless told otherwise.
LAST = 50


def register(app: typer.Typer) -> None:
    @app.command()
    def restatements(
        context: typer.Context,
        figure: Annotated[str | None, typer.Option("--figure", help=f"Only of {', '.join(FIGURES)}.")] = None,
        period: Annotated[
            str | None, typer.Option("--period", help="Only of this month, e.g. 2026-10.")
        ] = None,
        cause: Annotated[str | None, typer.Option("--cause", help=f"Only by {', '.join(CAUSES)}.")] = None,
        lead: Annotated[str | None, typer.Option("--lead", help="Only what came by this lead.")] = None,
        since: Annotated[
            str | None, typer.Option("--since", help="Only said after this instant (ISO with zone).")
        ] = None,
        sums: Annotated[
            bool, typer.Option("--sum", help="By number: by how much each has changed in all.")
        ] = False,
        limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = LAST,
        as_json: AsJson = False,
    ) -> None:
        """List what changed of closed months and matured cohorts: the part of one lead or deal, before and after.

        A number that was read at an instant is exact again after adding what --sum says --since then.

        Example: [bold]leadstream restatements --period 2026-10 --sum[/bold]
        """
        for given, known, option in ((figure, FIGURES, "--figure"), (cause, CAUSES, "--cause")):
            if given is not None and given not in known:
                raise UserError(f"{option} {given}: there are {', '.join(known)}")
        after = instant_ms(since, "--since") if since else 0
        settings = settings_of(context)
        prepare_codec(settings)
        found = [
            x
            for x in _said(settings, quiet=as_json)
            if x["as_of"] > after
            and figure in (None, x["figure"])
            and period in (None, x["period"])
            and lead in (None, x["lead_id"])
            and cause in (None, x["cause"].partition(":")[0])
        ]
        found.sort(key=lambda x: (x["as_of"], x["output_id"]))
        if sums:
            _print_sums(found, as_json)
            return
        shown = found[-limit:]
        if as_json:
            print_json(shown)
            return
        print_table(
            ("said", "figure", "of", "month", "old", "new", "cause", "by"),
            (
                (
                    instant(x["as_of"]), x["figure"], _words(x), x["period"], _number(x, "old"), _number(x, "new"),
                    x["cause"], x["by"],
                )
                for x in shown
            ),
        )  # fmt: skip
        rest = len(found) - len(shown)
        say(
            f"{len(found):,} restatements"
            + (f"; {rest:,} older ones are not shown (--limit)" if rest else "")
        )


def _said(settings: Settings, quiet: bool) -> Iterator[dict[str, Any]]:
    with Reader(settings) as reader, progress(quiet) as bar:
        task = bar.add_task("reading restatements", total=None)
        records = reader.read(
            [settings.topics.restatements],
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
        unread = 0
        for record in records:
            try:
                _, fields = decode_output(record.value or b"")
            except Malformed:
                unread += 1
                continue
            subject = dict(record.headers).get("ce_subject", b"").decode()
            yield fields | {"by": subject}
        if unread:
            say(f"{unread} records of {settings.topics.restatements} are no restatements and were left out")


def _print_sums(found: list[dict[str, Any]], as_json: bool) -> None:
    sums: dict[tuple[Any, ...], dict[str, Any]] = {}
    for x in found:
        key = (x["figure"], x["period"], tuple(sorted(x["labels"].items())))
        entry = sums.setdefault(
            key,
            {k: x[k] for k in ("figure", "labels", "period")}
            | {"change": 0, "restatements": 0, "causes": {}},
        )
        entry["change"] += (x["new"] or 0) - (x["old"] or 0)
        entry["restatements"] += 1
        word = x["cause"].partition(":")[0]
        entry["causes"][word] = entry["causes"].get(word, 0) + 1
    rows = [entry for _, entry in sorted(sums.items())]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("figure", "of", "month", "change", "restatements", "causes"),
        (
            (
                x["figure"], _words(x), x["period"], _number(x, "change", sign=True), f"{x['restatements']:,}",
                ", ".join(f"{n:,} {word}" for word, n in sorted(x["causes"].items())),
            )
            for x in rows
        ),
    )  # fmt: skip
    say(f"{len(rows):,} numbers have changed, in {len(found):,} restatements")


def _words(x: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in x["labels"].items())


def _number(x: dict[str, Any], which: str, sign: bool = False) -> str:
    n = x[which] or 0
    currency = x["labels"].get("currency", "")
    text = money(n, currency) if x["figure"] in MONEY and currency in CURRENCIES else f"{n:,}"
    return "+" + text if sign and n > 0 else text
