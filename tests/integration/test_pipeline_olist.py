"""The main job on real input: 8,000 leads and 842 won deals, through a real Kafka and a worker that is killed."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest

from streams import olist
from streams.local_kafka import LocalKafka
from streams.replay import Replayed
from tests.eventually import eventually
from tests.integration.pipeline import Pipeline

pytestmark = [pytest.mark.integration, pytest.mark.timeout(170)]

DEFINITION = Path(olist.__file__).parent / "sources" / "olist" / "definition.toml"
PARTITIONS = 4


class _Value(NamedTuple):
    figure: str
    labels: dict[str, str]
    value: int | Fraction | None


class Printed:
    """What ``leadstream figures --json`` prints, asked as `olist.count_report` asks a replay."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline

    def report(self, *, by: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> list[_Value]:
        options = [x for name in by for x in ("--by", name)] + [
            x for name in only for x in ("--figure", name)
        ]
        return [
            _Value(f["figure"], f["labels"], Fraction(f["exact"]) if "exact" in f else f["value"])
            for f in self._pipeline.figures(*options)
        ]


def truths(readme: str) -> olist.Count:
    """The figures that the data's own README states, named as `olist.Count` names them."""

    def row(name: str) -> str:
        return next(
            line.split("|")[2].strip() for line in readme.splitlines() if line.startswith(f"| {name}")
        )

    leads, won, conversion = row("leads / won").split(" / ")
    days = dict(part.split() for part in row("first contact to won").split(", "))
    count = {
        "leads": int(leads.replace(",", "")),
        "won": int(won),
        "conversion %": Fraction(conversion.removesuffix(" %")),
        "won deals that join a lead": int(row("won deals that join").split(" of ")[0]),
        **{f"days to won, {stat}": Fraction(value) for stat, value in days.items()},
    }
    within = row("won within").split(" / ")
    count |= {f"won within {h} days": int(n) for h, n in zip((7, 30, 90), within, strict=True)}
    for part in row("won, of leads by origin").split(", "):
        name, share = part.split()
        of_won, of_leads = share.split("/")
        origin = "(empty)" if name == "empty" else name
        count |= {f"leads, origin {origin}": int(of_leads), f"won, origin {origin}": int(of_won)}
    return count


@pytest.fixture
def files(data_dir: Path) -> tuple[Path, Path]:
    try:
        return olist.csv_files(data_dir / "olist")
    except olist.MissingError as missing:
        pytest.skip(str(missing))


def test_figures_of_workers_replay_and_files_agree_though_a_worker_is_killed(
    kafka: LocalKafka, prefix: str, tmp_path: Path, data_dir: Path, files: tuple[Path, Path]
) -> None:
    """Promise: imported history gives the figures that anybody can count in the files, exactly, although one of two
    workers is killed with -9 in the middle of it and another one takes over."""
    independent = olist.count_files(*files)
    clock = "fixed:2018-12-31T00:00:00Z"
    with Pipeline(
        kafka.bootstrap, prefix, tmp_path, PARTITIONS, clock=clock, definition=str(DEFINITION),
        max_poll_records="200", max_batch_records="25",  # slow enough to be killed half-way
    ) as pipeline:  # fmt: skip
        pipeline.create()
        events = tmp_path / "olist.ndjson"
        folder = str(data_dir / "olist")
        pipeline.cli("import", folder, "--mapping", "olist", "--out", str(events))
        pipeline.cli("import", folder, "--mapping", "olist", "--publish", "--json")
        total = pipeline.lag()

        pipeline.start("first")
        pipeline.start("second")
        left = eventually(lambda: 0 <= (lag := pipeline.lag()) < total * 0.7 and lag, what="a part is folded")
        pipeline.workers.pop("first").kill()
        assert 0 < pipeline.lag() <= left, "killed before the end"
        pipeline.start("third")
        pipeline.wait_settled(90, revive=False)

        # -- leadstream figures = leadstream replay = the files = the README of the data
        figures = pipeline.figures("--by", "source")
        told = json.loads(
            pipeline.cli(
                "replay", str(events), "--definition", "olist", "--as-of", "2018-12-31T00:00:00Z",
                "--by", "source", "--json",
            )
        )  # fmt: skip
        assert told["refused"]["lines"] == 0
        assert figures == told["figures"]
        count = olist.count_report(cast(Replayed, Printed(pipeline)))
        assert [f for f in olist.compare(count, independent) if not f.equal] == []
        stated = truths((data_dir / "README.md").read_text())
        count["days to won, mean"] = round(Fraction(count["days to won, mean"] or 0), 4)
        assert {name: count.get(name) for name in stated} == stated

        # -- /metrics of all workers together
        scrape = pipeline.scrape()
        days = {stat: scrape.values("leadstream_creation_to_won_day", stat=stat) for stat in ("min", "max")}
        mean = cast(Fraction, independent["days to won, mean"])
        won = cast(int, independent["won"])
        assert scrape.sum("leadstream_leads") == independent["leads"]
        assert scrape.sum("leadstream_won_leads") == won
        assert scrape.sum("leadstream_deals", status="won") == won
        assert scrape.sum("leadstream_creation_to_won_day", stat="sum") == mean * won
        assert min(days["min"]) == independent["days to won, min"]
        assert max(days["max"]) == independent["days to won, max"]
        for name, value in independent.items():
            if found := re.fullmatch(r"(leads|won), origin (.+)", name):
                metric = "leadstream_source_leads" if found[1] == "leads" else "leadstream_source_won_leads"
                assert scrape.sum(metric, source=found[2]) == value, name
        assert scrape.sum("leadstream_checks") == 0
        assert scrape.sum("leadstream_dead_letters_total") == 0

        # -- history calls nobody, and whoever subscribes has missed nothing and heard nothing twice
        heard = pipeline.heard()
        assert heard.repeated == 0
        kinds = {o["kind"] for (name, _), o in heard.state.items() if name == "handoff"}
        assert kinds <= {"historical", "answered"}
        assert not [o for (name, _), o in heard.state.items() if name == "sla"]
        stages = [o for (name, _), o in heard.state.items() if name == "stage_change"]
        assert sum(o["stage"] == "known" for o in stages) == independent["leads"]
        assert sum(o["stage"] == "won" for o in stages) == won


def test_the_ugly_parts_of_the_data_survive_as_what_they_are(
    kafka: LocalKafka, prefix: str, tmp_path: Path, data_dir: Path, files: tuple[Path, Path]
) -> None:
    """Promise: nothing is mended on the way: an empty origin and one recorded as unknown stay two different things."""
    rows: dict[str, list[Any]] = {}
    for line in files[0].read_text().splitlines()[1:]:
        lead, *_, origin = line.split(",")
        rows.setdefault(origin, []).append(lead)
    chosen = {origin: rows[origin][0] for origin in ("", "unknown")}
    small = tmp_path / "data"
    small.mkdir()
    for file in files:
        head, *lines = file.read_text().splitlines()
        kept = [line for line in lines if line.split(",")[0] in chosen.values()]
        (small / file.name).write_text("\n".join([head, *kept]) + "\n")
    with Pipeline(
        kafka.bootstrap, prefix, tmp_path, 1, clock="fixed:2018-12-31T00:00:00Z", definition=str(DEFINITION)
    ) as pipeline:
        pipeline.create()
        pipeline.cli("import", str(small), "--mapping", "olist", "--publish", "--json")
        pipeline.start()
        pipeline.wait_settled()
        found = pipeline.rows()
    assert found[f"l:{chosen['']}"].head.source is None
    assert found[f"l:{chosen['unknown']}"].head.source == "unknown"
