"""``leadstream figures``: every figure, exact, from the rows as the changelog has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from processors.additive import Contribution
from processors.columns import HANDOFF_STATES, SERIES, stage_names
from processors.compiled import Compiled
from processors.definition.reader import DefinitionError
from processors.figure_kit import MINOR_UNITS, PER_MILLE, PER_MILLION
from processors.market import NOTHING, Market
from processors.model import DEAL_STATUS, RowVersionError
from processors.money import show as money
from processors.period import Period
from processors.reference import EMPTY as NO_REFERENCE
from processors.reference import Reference
from processors.report import FIGURES, LABELS, Value, report
from processors.totals import SPEEDS, STATS
from streams.cli.console import (
    AsJson,
    DataError,
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
from streams.clock import clock_of

#: Inputs whose names tell a unit that people are not shown.
_SHARES = {"margin_per_mille": "margin", "per_mille": "shares in sum"}
_BY_NAME = {figure.name: figure for figure in FIGURES}


def register(app: typer.Typer) -> None:
    @app.command()
    def figures(
        context: typer.Context,
        by: Annotated[
            list[str] | None,
            typer.Option(
                "--by", help=f"Split by {', '.join(LABELS)}; may be repeated, or a list with commas."
            ),
        ] = None,
        period: Annotated[
            str | None,
            typer.Option(
                "--period", help="2026-10, 2026-10-01..2026-10-31, 2026; days of the reporting time zone."
            ),
        ] = None,
        as_of: Annotated[
            str | None, typer.Option("--as-of", help="As things stood at this instant (ISO with zone); now.")
        ] = None,
        figure: Annotated[
            list[str] | None, typer.Option("--figure", help="Only this figure; may be repeated.")
        ] = None,
        formulas: Annotated[
            bool,
            typer.Option("--formulas", help="List the figures with their formulas and labels, and stop."),
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Print the figures, exact and with medians, from the state of the whole deployment.

        Example: [bold]leadstream figures --by source --period 2026-10[/bold]
        """
        if formulas:
            print_formulas(as_json)
            return
        labels, only, span = split_labels(by), known_figures(figure), parse_period(period)
        settings = settings_of(context)
        prepare_codec(settings)
        at = instant_ms(as_of, "--as-of") if as_of else clock_of(settings).now_ms()

        from streams import state_reader

        try:
            logic = state_reader.topology(settings)
        except DefinitionError as error:
            raise UserError(str(error)) from None
        try:
            with progress(quiet=as_json) as bar:
                task = bar.add_task("reading rows", total=None)
                found = state_reader.rows(
                    settings, lambda done, total: bar.update(task, completed=done, total=total)
                )
                unsure: list[int] = []
                totals = state_reader.figures_of_rows(found, logic, at, unsure.append)
        except RowVersionError as error:
            raise DataError(f"{settings.changelog}: {error}") from None
        print_report(
            totals, logic.definitions, at, by=labels, period=span, only=only, as_json=as_json,
            market=logic.market, reference=logic.reference,
            notes=[state_reader.UNSURE % n for n in unsure],
        )  # fmt: skip


def split_labels(by: Sequence[str] | None) -> tuple[str, ...]:
    """The labels of ``--by``, given one by one or with commas.

    :raises UserError: there is no such label.
    """
    found = [label.strip() for each in by or () for label in each.split(",") if label.strip()]
    for label in found:
        if label not in LABELS:
            raise UserError(f"--by {label}: figures can be split by {', '.join(LABELS)}")
    return tuple(dict.fromkeys(found))


def known_figures(names: Sequence[str] | None) -> tuple[str, ...]:
    """:raises UserError: there is no such figure."""
    for name in names or ():
        if name not in _BY_NAME:
            raise UserError(f"--figure {name}: there are {', '.join(_BY_NAME)}")
    return tuple(names or ())


def parse_period(text: str | None) -> Period | None:
    """:raises UserError: it is no period."""
    try:
        return Period.parse(text) if text else None
    except ValueError as error:
        raise UserError(f"--{error}") from None


def document(
    totals: Contribution,
    definitions: Sequence[Compiled],
    as_of_ms: int,
    *,
    by: Sequence[str] = (),
    period: Period | None = None,
    only: Sequence[str] = (),
    market: Market = NOTHING,
    reference: Reference = NO_REFERENCE,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The report of fine totals for programs.

    :param definitions: compiled ones, the newest last.
    :param notes: what the reader has to know of these totals.
    """
    values = report(
        totals, definitions[-1], as_of_ms, by=by, period=period, only=only, names=stage_names(definitions),
        market=market, reference=reference,
    )  # fmt: skip
    head = _head(definitions[-1], as_of_ms, by, period, notes)
    return head | {"figures": plain_values(values), "left_out": _left_out(only, by)}


def _head(
    newest: Compiled, as_of_ms: int, by: Sequence[str], period: Period | None, notes: Sequence[str]
) -> dict[str, Any]:
    return {
        "as_of": instant(as_of_ms),
        "definition": f"{newest.source.name}@{newest.source.version}",
        "time_zone": newest.source.time_zone,
        "period": str(period) if period else None,
        "by": list(by),
    } | ({"notes": list(notes)} if notes else {})


def _left_out(only: Sequence[str], by: Sequence[str]) -> list[str]:
    return [f.name for f in FIGURES if f.name in (only or _BY_NAME) and not f.carries(by)]


def print_report(
    totals: Contribution,
    definitions: Sequence[Compiled],
    as_of_ms: int,
    *,
    by: Sequence[str] = (),
    period: Period | None = None,
    only: Sequence[str] = (),
    as_json: bool = False,
    market: Market = NOTHING,
    reference: Reference = NO_REFERENCE,
    notes: Sequence[str] = (),
) -> None:
    """Compute and print the report of fine totals.

    :param definitions: compiled ones, the newest last.
    :param notes: what the reader has to know of these totals.
    """
    if as_json:
        print_json(
            document(
                totals, definitions, as_of_ms, by=by, period=period, only=only, market=market, reference=reference,
                notes=notes,
            )
        )  # fmt: skip
        return
    values = report(
        totals, definitions[-1], as_of_ms, by=by, period=period, only=only, names=stage_names(definitions),
        market=market, reference=reference,
    )  # fmt: skip
    head, left_out = _head(definitions[-1], as_of_ms, by, period, notes), _left_out(only, by)
    within = f", {period}" if period else ""
    typer.echo(f"as of {head['as_of']}, {head['definition']}, days in {head['time_zone']}{within}")
    print_values(values)
    for note in notes:
        say(note)
    if left_out:
        say(f"not by {', '.join(by)}: {', '.join(left_out)}")


def plain_values(values: Iterable[Value]) -> list[dict[str, Any]]:
    """Values for programs."""
    return [plain(value) for value in values]


def plain(value: Value) -> dict[str, Any]:
    """A value for programs: ``value`` as a number, ``exact`` as a fraction where it is none with a finite end."""
    number: object = value.value
    found: dict[str, Any] = {
        "figure": value.figure,
        "labels": value.labels,
        "value": number,
        "unit": value.unit,
    }
    if isinstance(number, Fraction):
        found["value"] = int(number) if number.denominator == 1 else float(number)
        found["exact"] = str(number)
    if value.inputs:
        found["inputs"] = value.inputs
    if value.units:
        found["input_units"] = value.units
    if value.note:
        found["note"] = value.note
    return found


def shown(value: Value) -> str:
    """A value for people."""
    number = value.value
    if number is None:
        return f"– ({value.note})" if value.note else "–"
    if value.unit == "ratio":
        return f"{_decimal(Fraction(number) * 100, 3)} %"
    if value.unit == "s":
        return _duration(int(number))
    if value.unit.startswith(MINOR_UNITS):
        base = value.unit.removeprefix(MINOR_UNITS).strip()
        return money(round(number), value.labels.get("currency", base))
    return _decimal(Fraction(number), 4)


def formulas_of() -> list[dict[str, Any]]:
    """The reference of the figures."""
    return [
        {
            "figure": f.name,
            "unit": f.unit,
            "formula": f.formula,
            "always_by": list(f.always),
            "by": list(f.labels),
        }
        for f in FIGURES
    ]


def print_formulas(as_json: bool) -> None:
    """The reference of the figures."""
    rows = formulas_of()
    if as_json:
        print_json(rows)
        return
    columns = ("figure", "unit", "formula", "always by", "may be split by")
    print_table(
        columns,
        ((r["figure"], r["unit"], r["formula"], ", ".join(r["always_by"]), ", ".join(r["by"])) for r in rows),
    )  # fmt: skip


def print_values(values: Sequence[Value]) -> None:
    """Tables: the last label of most figures lies across, what stands alone is listed with what it is made of, each
    family of figures by itself."""
    alone: dict[str, list[Value]] = {}
    blocks: dict[str, list[Value]] = {}
    for value in values:
        if value.figure in _SIDE_BY_SIDE:
            blocks.setdefault("by stage", []).append(value)
        elif _across(value):
            blocks.setdefault(value.figure, []).append(value)
        else:
            alone.setdefault(_BY_NAME[value.figure].group, []).append(value)
    for group, members in alone.items():
        _print(group, ("", "", "value", "from"), [
            (value.figure, _labels(value), shown(value), inputs_shown(value)) for value in members
        ])  # fmt: skip
    for title, members in blocks.items():
        across: dict[str, None] = {}
        lines: dict[str, dict[str, str]] = {}
        for value in members:
            last = _across(value)
            column = value.labels[last] if last else value.figure
            if last == "horizon":
                column = "ever" if column == "ever" else f"in {column} days"
            across[column] = None
            lines.setdefault(_labels(value, last), {})[column] = _cell(value)
        columns = sorted(across, key=_place)
        _print(
            title,
            ("", *columns),
            [(line, *(cells.get(c, "") for c in columns)) for line, cells in lines.items()],
        )


#: Figures that make one table, under their own names.
_SIDE_BY_SIDE = ("entered", "left", "balance")
_COLUMNS = (*_SIDE_BY_SIDE, "ever", *STATS, *SPEEDS, *HANDOFF_STATES, *DEAL_STATUS, *SERIES)


def _across(value: Value) -> str:
    """The label whose values are the columns of a figure's table, "" for none."""
    always = _BY_NAME[value.figure].always
    return always[-1] if always and always[-1] in ("stat", "horizon", "outcome", "status", "series") else ""


def _place(column: str) -> tuple[int, int]:
    """Columns in the order of the process, horizons by their days."""
    if column.startswith("in "):
        return 0, int(column.split()[1])
    return 1, _COLUMNS.index(column) if column in _COLUMNS else len(_COLUMNS)


def _print(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(header_style="dim", box=None, pad_edge=False)
    texts = ("", "from") if columns[-1] == "from" else columns[:1]
    for column in columns:
        table.add_column(column, justify="left" if column in texts else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    out = Console(markup=False, highlight=False)
    if not out.is_terminal:
        out = Console(markup=False, highlight=False, width=240)
    out.print()
    out.print(title, style="bold")
    out.print(table)


def _cell(value: Value) -> str:
    """A ratio with the number it is a share of."""
    whole = {"cohort_conversion": "entered", "leads_won_share": "leads"}.get(value.figure)
    return f"{shown(value)} of {value.inputs[whole]:,}" if whole and value.value is not None else shown(value)


def _labels(value: Value, but: str = "") -> str:
    labels = {name: text for name, text in value.labels.items() if name != but}
    parts = [f"{labels.pop('from')} → {labels.pop('to')}"] if "from" in labels else []
    return ", ".join([*parts, *labels.values()])


def inputs_shown(value: Value) -> str:
    """What a value was made of, for people: amounts as money, shares as per cent."""
    said = [
        f"{_SHARES.get(name, name)} {_input(n, value.units.get(name, ''))}"
        for name, n in value.inputs.items()
        if n or len(value.inputs) <= 2
    ]
    return ", ".join([*([value.note] if value.note and value.value is not None else []), *said])


def _input(n: int, unit: str) -> str:
    if unit.startswith(MINOR_UNITS):
        return money(n, unit.removeprefix(MINOR_UNITS).strip())
    whole = {PER_MILLE: 10, PER_MILLION: 10_000}.get(unit)
    return f"{_decimal(Fraction(n, whole), 3)} %" if whole else f"{n:,}"


def _decimal(number: Fraction, digits: int) -> str:
    """Rounded half to even, without zeros at the end."""
    exact = Decimal(number.numerator) / Decimal(number.denominator)
    text = f"{exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _duration(seconds: int) -> str:
    minutes, s = divmod(seconds, 60)
    hours, m = divmod(minutes, 60)
    days, h = divmod(hours, 24)
    parts = [(days, "d"), (h, "h"), (m, "m"), (s, "s")]
    some = [f"{n}{unit}" for n, unit in parts if n][:2]
    return " ".join(some) or "0s"
