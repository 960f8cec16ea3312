"""The olist comparison: both counts agree on the real data, and a difference is seen."""

from __future__ import annotations

import ast
import csv
import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from streams import olist
from streams.cli import build
from streams.olist import Compared, Count, compare, count_files

Run = Callable[..., Result]

LEADS_HEAD = "mql_id,first_contact_date,landing_page_id,origin\n"
DEALS_HEAD = (
    "mql_id,seller_id,sdr_id,sr_id,won_date,business_segment,lead_type,lead_behaviour_profile,has_company,"
    "has_gtin,average_stock,business_type,declared_product_catalog_size,declared_monthly_revenue\n"
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(build(), ["olist", *arguments], env={"COLUMNS": "200"})

    return invoke


def folder(tmp_path: Path, leads: list[str], deals: list[tuple[str, str]]) -> Path:
    """A small data set of the same shape."""
    made = tmp_path / "data"
    made.mkdir()
    (made / "olist_marketing_qualified_leads_dataset.csv").write_text(
        LEADS_HEAD + "".join(f"{x}\n" for x in leads)
    )
    rows = (f"{lead},s,d,r,{won},pet,online_big,cat,,,,reseller,,0.0\n" for lead, won in deals)
    (made / "olist_closed_deals_dataset.csv").write_text(DEALS_HEAD + "".join(rows))
    return made


SMALL = (
    ["l-1,2018-01-01,p,social", "l-2,2018-01-31,p,unknown", "l-3,2018-02-01,p,", "l-4,2018-02-03,p,social"],
    [("l-1", "2018-01-08 23:59:59"), ("l-3", "2018-01-30 02:00:00"), ("l-4", "2018-05-20 00:00:00")],
)


# -- the independent count --------------------------------------------------------------------------------------------


def test_the_count_of_the_files_by_hand(tmp_path: Path) -> None:
    found = count_files(*olist.csv_files(folder(tmp_path, *SMALL)))
    assert found == {
        "leads": 4,
        "won": 3,
        "conversion %": 75,
        "won deals that join a lead": 3,
        "days to won, median": 7,
        "days to won, mean": Fraction(111, 3),
        "days to won, min": -2,
        "days to won, max": 106,
        "won within 7 days": 2,
        "won within 30 days": 2,
        "won within 90 days": 2,
        "leads, origin social": 2,
        "won, origin social": 2,
        "leads, origin (empty)": 1,
        "won, origin (empty)": 1,
        "leads, origin unknown": 1,
        "won, origin unknown": 0,
    }


def test_the_count_of_the_files_uses_nothing_of_ours() -> None:
    """Independent means: the functions that count name no module of leadstream and no number of the data."""
    tree = ast.parse(Path(olist.__file__).read_text(encoding="utf-8"))
    ours = {
        alias.asname or alias.name.split(".")[0]
        for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import)
        if (getattr(node, "module", "") or "").split(".")[0] in ("streams", "processors", "schemas")
        for alias in node.names
    }  # fmt: skip
    counting = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in ("count_files", "_rows")]
    assert len(counting) == 2
    names = {n.id for f in counting for n in ast.walk(f) if isinstance(n, ast.Name)}
    assert not names & ours
    numbers = {
        n.value for f in counting for n in ast.walk(f) if isinstance(n, ast.Constant) and type(n.value) is int
    }
    assert numbers <= {0, 1, 2, 10, 100}


# -- both together ----------------------------------------------------------------------------------------------------


def test_both_agree_on_a_small_set_with_the_ugly_parts(run: Run, tmp_path: Path) -> None:
    result = run("--data", str(folder(tmp_path, *SMALL)))
    assert result.exit_code == 0, result.output
    assert "all 17 figures are equal" in result.stderr
    assert "NO" not in result.stdout


def test_both_agree_on_the_real_data(run: Run, data_dir: Path) -> None:
    """8,000 leads and their deals: every figure of both counts, exactly, and there are that many."""
    result = run("--data", str(data_dir / "olist"), "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    assert found["equal"] is True
    figures = {f["figure"]: f["leadstream"] for f in found["figures"]}
    with next((data_dir / "olist").glob("*leads*.csv")).open(newline="", encoding="utf-8") as handle:
        leads = list(csv.DictReader(handle))
    assert figures["leads"] == len(leads)
    assert figures["leads, origin (empty)"] == sum(row["origin"] == "" for row in leads)
    assert figures["leads, origin unknown"] == sum(row["origin"] == "unknown" for row in leads)
    assert figures["days to won, min"] < 0
    assert sum(f["equal"] for f in found["figures"]) == len(figures) >= 30


def test_a_difference_is_seen_and_fails(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the files say and leadstream did not get: one lead less."""
    data = folder(tmp_path, *SMALL)
    imported = olist.import_events

    def losing(files: Any, out: Path, progress: Any = None) -> int:
        made = imported(files, out, progress)
        lines = out.read_text().splitlines(keepends=True)
        out.write_text("".join(lines[1:]))
        return made

    monkeypatch.setattr(olist, "import_events", losing)
    result = run("--data", str(data))
    assert result.exit_code == 1
    assert "figures differ" in result.stderr
    assert "NO" in result.stdout


def test_another_definition_changes_what_is_counted(run: Run, tmp_path: Path) -> None:
    """Days of another zone are other days: the comparison is not blind to what the definition says."""
    (tmp_path / "shifted.toml").write_text('name = "shifted"\nversion = 1\ntime_zone = "America/Sao_Paulo"\n')
    result = run("--data", str(folder(tmp_path, *SMALL)), "--definition", "shifted.toml")
    assert result.exit_code == 1
    assert "days to won, mean" in result.stdout


@pytest.mark.parametrize("missing", ["", "olist_closed_deals_dataset.csv"])
def test_a_missing_folder_or_file_is_said(run: Run, tmp_path: Path, missing: str) -> None:
    data = folder(tmp_path, *SMALL)
    if missing:
        (data / missing).unlink()
    else:
        shutil.rmtree(data)
    result = run("--data", str(data))
    assert result.exit_code == 2
    assert str(data) in result.stderr
    assert "closed_deals" in result.stderr
    assert "Traceback" not in result.output


def test_a_row_that_is_no_lead_is_said_with_its_place(run: Run, tmp_path: Path) -> None:
    data = folder(tmp_path, ["l-1,someday,p,social"], [])
    result = run("--data", str(data))
    assert result.exit_code == 1
    assert "leads_dataset.csv:2:" in result.stderr


def test_nothing_is_equal_to_nothing() -> None:
    ours: Count = {"a": 1, "b": None}
    theirs: Count = {"a": 1, "b": None, "c": 2, "won, origin x": 0}
    assert compare(ours, theirs) == [
        Compared("a", 1, 1), Compared("b", None, None), Compared("c", None, 2), Compared("won, origin x", 0, 0),
    ]  # fmt: skip
    assert [f.equal for f in compare(ours, theirs)] == [True, False, False, True]
