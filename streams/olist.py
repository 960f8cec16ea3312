"""The olist data, counted twice: by leadstream (import, then replay) and straight from the CSV files.

The second count knows nothing of the first: it reads the files with the csv module and uses no other code and no
number written down. Where both agree on every figure, import, codec, fold and figures have done what they promise.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import msgspec

from processors.definition.model import Definition
from streams.replay import Replayed, file_lines, replay
from streams.settings import Settings
from streams.sources.csv_import import CsvMapping, packaged_mapping

#: What the files are called, as in the packaged mapping.
LEADS, DEALS = "*marketing_qualified_leads*.csv", "*closed_deals*.csv"
HORIZONS = (7, 30, 90)
STATS = ("median", "mean", "min", "max")
EMPTY = "(empty)"

Value = int | Fraction | None
#: Figure (with its label, where it has one) -> value.
Count = dict[str, Value]


class MissingError(Exception):
    """The folder or its files are not there: what was looked for, and where."""


class Compared(NamedTuple):
    """One figure from both sides."""

    figure: str
    leadstream: Value
    independent: Value

    @property
    def equal(self) -> bool:
        return self.leadstream is not None and self.leadstream == self.independent


def csv_files(folder: Path) -> tuple[Path, Path]:
    """The files of leads and of deals.

    :raises MissingError: one of them, or the folder, is not there.
    """
    if not folder.is_dir():
        raise MissingError(
            f"{folder}: no such folder; name the one with olist's CSV files ({LEADS} and {DEALS}): "
            f"`make olist DATA=folder` or `leadstream olist --data folder`"
        )
    found = []
    for pattern in (LEADS, DEALS):
        matches = sorted(folder.glob(pattern))
        if len(matches) != 1:
            what = "no file is" if not matches else f"{len(matches)} files are"
            raise MissingError(f"{folder}: {what} called {pattern}; one must be")
        found.append(matches[0])
    return found[0], found[1]


# -- straight from the files ------------------------------------------------------------------------------------------


def count_files(leads_csv: Path, deals_csv: Path) -> Count:
    """Every figure from the CSV files alone. Days are calendar days as stored (UTC), negative ones included."""
    first: dict[str, date] = {}
    origin: dict[str, str] = {}
    for row in _rows(leads_csv):
        first[row["mql_id"]] = date.fromisoformat(row["first_contact_date"][:10])
        origin[row["mql_id"]] = row["origin"] or EMPTY
    won = {row["mql_id"]: date.fromisoformat(row["won_date"][:10]) for row in _rows(deals_csv)}
    joined = [lead for lead in won if lead in first]
    days = sorted((won[lead] - first[lead]).days for lead in joined)
    n = len(days)
    out: Count = {
        "leads": len(first),
        "won": len(won),
        "conversion %": Fraction(100 * len(won), len(first)) if first else None,
        "won deals that join a lead": n,
        "days to won, median": Fraction(days[(n - 1) // 2] + days[n // 2], 2) if n else None,
        "days to won, mean": Fraction(sum(days), n) if n else None,
        "days to won, min": days[0] if n else None,
        "days to won, max": days[-1] if n else None,
    }
    out |= {f"won within {h} days": sum(1 for d in days if d <= h) for h in HORIZONS}
    leads_by, won_by = Counter(origin.values()), Counter(origin[lead] for lead in joined)
    for name, count in sorted(leads_by.items(), key=lambda item: (-item[1], item[0])):
        out[f"leads, origin {name}"] = count
        out[f"won, origin {name}"] = won_by[name]
    return out


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        yield from csv.DictReader(handle)


# -- by leadstream ----------------------------------------------------------------------------------------------------


def import_events(files: Iterable[Path], out: Path, progress: Callable[[int], None] | None = None) -> int:
    """CSV files to NDJSON by the packaged mapping; the number of events.

    :raises RowError: a row cannot be mapped.
    """
    mapping = CsvMapping(packaged_mapping("olist") or "", "olist")
    encode = msgspec.json.Encoder().encode
    made = 0
    with out.open("wb") as handle:
        for path in files:
            for mapped in mapping.events(path):
                if mapped.error is not None:
                    raise mapped.error
                handle.write(encode(mapped.event) + b"\n")
                made += 1
                if progress is not None:
                    progress(made)
    return made


def fold_events(
    settings: Settings,
    definition: Definition,
    events: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Replayed:
    """The events folded as of the newest of them."""
    return replay(settings, definition, file_lines(events), progress=progress)


def count_report(done: Replayed) -> Count:
    """The same figures as leadstream reports them."""
    total = _reported(done)
    by_source = _reported(done, by=("source",))
    won_deals = total["deals", "won"] or 0
    without_lead = total["deals_without_lead", "won"] or 0
    share = total["leads_won_share", "ever"]
    out: Count = {
        "leads": total["leads",],
        "won": total["leads_won", "ever"],
        "conversion %": None if share is None else 100 * share,
        "won deals that join a lead": won_deals - without_lead,
    }
    out |= {f"days to won, {stat}": total["lead_cycle", stat] for stat in STATS}
    out |= {f"won within {h} days": total["leads_won", str(h)] for h in HORIZONS}
    for (name, *labels), value in by_source.items():
        if name == "leads":
            out[f"leads, origin {labels[0]}"] = value
        elif name == "leads_won" and labels[0] == "ever":
            out[f"won, origin {labels[1]}"] = value
    return out


def _reported(done: Replayed, by: tuple[str, ...] = ()) -> dict[tuple[str, ...], Value]:
    """Figures by name and the values of their labels."""
    only = ("leads", "leads_won", "leads_won_share", "lead_cycle", "deals", "deals_without_lead")
    return {(v.figure, *v.labels.values()): v.value for v in done.report(by=by, only=only)}


def compare(leadstream: Count, independent: Count) -> list[Compared]:
    """Every figure that either side has."""
    names = [*independent, *(name for name in leadstream if name not in independent)]

    # An origin that won nothing is no figure of leadstream's, but a 0 of the files'.
    def value(name: str) -> Value:
        return leadstream.get(name, 0 if name.startswith("won, origin ") else None)

    return [Compared(name, value(name), independent.get(name)) for name in names]


def shown(value: Value) -> str:
    """A value as people write it: at most four decimals."""
    if value is None:
        return "none"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{float(value):,.4f}".rstrip("0").rstrip(".")
