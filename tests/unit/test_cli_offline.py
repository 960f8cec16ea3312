"""The command line without a broker: output, exit codes, one-line errors."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli import build, decoding
from streams.cli.events import checked
from streams.cli.reference import reference_event
from streams.dead_letters import dead_letter
from streams.settings import Settings
from streams.work import Record

Run = Callable[..., Result]

LEADS = "id,on,origin\nlead-1,2026-01-01,web\nlead-2,2026-01-02,\n"
MAPPING = """\
[[file]]
name = "leads*.csv"
[[file.event]]
type = "created"
subject = { lead_id = "{id}" }
occurred_at = { column = "on" }
source_system = "crm"
source_event_id = "created:{id}"
payload = { source = { column = "origin" }, generated_by = "marketing" }
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder, with no settings but those given."""
    monkeypatch.chdir(tmp_path)
    for name in os.environ:
        if name.startswith("LEADSTREAM_"):
            monkeypatch.delenv(name)

    def invoke(*arguments: str, stdin: str | None = None, **env: str) -> Result:
        return CliRunner().invoke(build(), list(arguments), input=stdin, env={"COLUMNS": "200", **env})

    return invoke


def commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for command in build().registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        found.append((name,))
    for group in build().registered_groups:
        for command in group.typer_instance.registered_commands if group.typer_instance else ():
            name = command.name or (command.callback.__name__ if command.callback else "")
            found.append((group.name or "", name))
    return found


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_every_help_shows_an_example(run: Run, command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.stdout
    assert "leadstream " in result.stdout


@pytest.mark.parametrize(
    ("command", "flag"), [((), "--debug"), (("import",), "--publish"), (("topics", "create"), "--json")]
)
def test_a_flag_is_shown_without_a_value(run: Run, command: tuple[str, ...], flag: str) -> None:
    result = run(*command, "--help")
    (line,) = (line for line in result.stdout.splitlines() if line.startswith(f"│ {flag} "))
    assert "<bool>" not in line


def test_without_a_command_all_are_listed(run: Run) -> None:
    result = run()
    for name in ("worker", "topics", "publish", "import", "tail", "dead-letters", "doctor", "settings"):
        assert name in result.output


def test_settings_say_where_each_value_comes_from_and_mask_secrets(run: Run, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('app_id = "funnel"\nsasl_password = "hunter2"\n')
    sasl = {
        "LEADSTREAM_SECURITY_PROTOCOL": "SASL_SSL",
        "LEADSTREAM_SASL_MECHANISM": "PLAIN",
        "LEADSTREAM_SASL_USERNAME": "u",
    }
    told = json.loads(run("--config", "p.toml", "settings", "--json", **sasl).stdout)
    assert told["app_id"]["value"] == "funnel"
    assert told["app_id"]["from"] == "file:p.toml"
    assert told["sasl_username"]["from"] == "env:LEADSTREAM_SASL_USERNAME"
    assert told["partitions"] == {
        "value": 8,
        "from": "default",
        "env": "LEADSTREAM_PARTITIONS",
        "default": 8,
        "unit": "",
        "doc": told["partitions"]["doc"],
    }
    table = run("-c", "p.toml", "settings", **sasl).stdout
    assert "funnel" in table
    assert "hunter2" not in table + json.dumps(told)


def test_bad_settings_are_one_line_and_exit_2(run: Run) -> None:
    result = run("settings", LEADSTREAM_PARTITIONS="none")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: LEADSTREAM_PARTITIONS = 'none'")
    assert result.stderr.count("\n") == 1


def test_debug_lets_the_traceback_through(run: Run) -> None:
    result = run("--debug", "settings", LEADSTREAM_PARTITIONS="none")
    assert type(result.exception).__name__ == "SettingsError"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("by 0"), AttributeError("no x"), MemoryError("too much")]
)
def test_what_nobody_foresaw_is_one_line_too(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(_config: object) -> None:
        raise error

    monkeypatch.setattr("streams.cli.settings.load_with_origin", fails)
    result = run("settings")
    assert result.exit_code == 1
    assert result.stderr == f"error: {type(error).__name__}: {error} (--debug shows where)\n"


def test_an_unreachable_broker_is_one_line_and_exit_1(run: Run, unused_port: int) -> None:
    result = run("topics", "check", LEADSTREAM_BOOTSTRAP=f"127.0.0.1:{unused_port}")
    assert result.exit_code == 1
    assert f"127.0.0.1:{unused_port}" in result.stderr
    assert "no broker answers" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.fixture
def unused_port() -> int:
    from streams.local_kafka import free_ports

    return free_ports(1)[0]


def test_import_writes_ndjson_to_stdout_and_counts_to_stderr(run: Run, tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(LEADS)
    (tmp_path / "m.toml").write_text(MAPPING)
    result = run("import", "leads.csv", "--mapping", "m.toml")
    assert result.exit_code == 0
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["payload"].get("source") for event in events] == ["web", None]
    assert all(event["backfill"] for event in events)
    assert result.stderr == "2 events (2 created)\n"


def test_import_takes_a_folder_and_a_packaged_mapping(run: Run, data_dir: Path, tmp_path: Path) -> None:
    result = run("import", str(data_dir / "olist"), "-m", "olist", "-o", "olist.ndjson", "--json")
    assert json.loads(result.stdout)["events"]["created"] == 8000
    assert len((tmp_path / "olist.ndjson").read_text().splitlines()) == 10_526


def test_import_with_a_bad_row_leaves_no_file_behind(run: Run, tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(LEADS + "lead-3,soon,web\nlead-4,1970-01-01,web\n")
    (tmp_path / "m.toml").write_text(MAPPING)
    result = run("import", "leads.csv", "-m", "m.toml", "-o", "out.ndjson")
    assert result.exit_code == 1
    assert "leads.csv:4:on: 'soon'" in result.stderr
    assert "leads.csv:5: created: occurred_at" in result.stderr
    assert "2 bad rows" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leads.csv", "m.toml"]


def test_import_keeps_going_when_asked_and_exits_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(LEADS + "lead-3,soon,web\n")
    (tmp_path / "m.toml").write_text(MAPPING)
    result = run("import", "leads.csv", "-m", "m.toml", "-o", "out.ndjson", "--keep-going")
    assert result.exit_code == 1
    assert len((tmp_path / "out.ndjson").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("import",), "give CSV files and --mapping"),
        (("import", "none.csv", "-m", "olist"), "none.csv: no such file"),
        (("import", "leads.csv", "-m", "none.toml"), "none.toml: no such mapping"),
        (("import", "leads.csv", "-m", "olist"), "no [[file]] is for leads.csv"),
        (("publish", "none.ndjson"), "none.ndjson: no such file"),
        (("publish", "-", "--format", "xml"), "there are avro and json"),
        (("schemas", "show", "page_view"), "did you mean 'page_viewed'"),
        (("definition", "check", "none.toml"), "none.toml: no such definition"),
        (("dead-letters", "show", "seven"), "an id is partition:offset"),
        (("reference", "show", "--type", "owner"), "there are address_suppressed, campaign_renamed"),
        (("reference", "set", "fx", "USD", "EUR", "-1", "--date", "2026-11-20"), "No such option"),
        (("reference", "set", "fx", "USD", "QQQ", "1", "--date", "2026-11-20"), "there is no currency 'QQQ'"),
        (
            ("reference", "set", "owner", "o-1", "--team", "sales", "--time-zone", "Mars/X"),
            "no time zone 'Mars/X'",
        ),
        (("reference", "set", "owner", "a@b.c", "--team", "sales"), "not an e-mail address"),
        (("reference", "set", "events", "none.ndjson"), "none.ndjson: no such file"),
        (("--config", "none.toml", "settings"), "no such settings file"),
    ],
)
def test_a_mistake_of_the_user_exits_2(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    (tmp_path / "leads.csv").write_text(LEADS)
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_file_with_a_bad_line_is_refused_before_any_broker_is_asked(run: Run, tmp_path: Path) -> None:
    viewed = {"type": "page_viewed", "occurred_at": 1763800000000, "source_system": "web"}
    viewed |= {"subject": {"lead_id": "lead-1"}, "payload": {"url": "https://example.com"}}
    won = viewed | {"type": "won", "subject": {"deal_id": "deal-1"}}
    lines = [
        json.dumps(viewed),
        "{",
        json.dumps(viewed | {"subject": {}}),
        json.dumps(viewed | {"type": "page_view"}),
        "[]",
        json.dumps(won | {"payload": {"amount": -1, "currency": "EUR"}}),
    ]
    (tmp_path / "e.ndjson").write_text("\n".join(lines))
    result = run("publish", "e.ndjson")
    assert result.exit_code == 1
    said = result.stderr.splitlines()
    assert said[0].startswith("e.ndjson:2: not JSON")
    assert said[1].startswith("e.ndjson:3: ")
    assert "did you mean 'page_viewed'?" in said[2]
    assert said[3].startswith("e.ndjson:5: an event is an object")
    assert said[4].startswith("e.ndjson:6: payload.amount")
    assert "5 of 6 lines are bad, nothing was published" in said[5]


def test_what_workers_would_refuse_as_too_far_ahead_is_not_published(run: Run, tmp_path: Path) -> None:
    viewed = {"type": "page_viewed", "occurred_at": "2026-11-23T09:00:00Z", "source_system": "web"}
    viewed |= {"subject": {"lead_id": "lead-1"}, "payload": {"url": "https://example.com"}}
    rate = {"type": "fx_rate_set", "source_system": "bank", "occurred_at": "2027-01-01T00:00:00Z"}
    rate |= {"payload": {"base": "USD", "quote": "EUR", "date": "2027-01-01", "rate": "0.9"}}
    later = viewed | {"occurred_at": "2026-11-24T12:00:00Z"}
    (tmp_path / "e.ndjson").write_text("\n".join(map(json.dumps, (viewed, rate, later))))
    result = run("publish", "e.ndjson", LEADSTREAM_CLOCK="fixed:2026-11-22T10:00:00Z")
    assert result.exit_code == 1
    said = result.stderr.splitlines()
    assert said[0] == (
        "e.ndjson:3: occurred_at lies 50 hours ahead, workers take up to 24; check the clock of web (too_far)"
    )
    assert "1 of 3 lines are bad, nothing was published" in said[1]


def test_a_row_too_far_ahead_is_told_by_its_place_in_the_csv(run: Run, tmp_path: Path) -> None:
    (tmp_path / "leads.csv").write_text(LEADS + "lead-3,2126-01-01,web\n")
    (tmp_path / "m.toml").write_text(MAPPING)
    result = run(
        "import", "leads.csv", "-m", "m.toml", "--publish", LEADSTREAM_CLOCK="fixed:2026-11-22T10:00:00Z"
    )
    assert result.exit_code == 1
    assert result.stderr.startswith("leads.csv:4: created: occurred_at lies 868,")
    assert "1 bad row" in result.stderr


@pytest.mark.parametrize(
    "given", ["99999999999999999999", "²", "-1", "0001-01-01T00:00:00+14:00", "2026-01-01"]
)
def test_an_instant_that_nobody_can_mean_is_refused(run: Run, tmp_path: Path, given: str) -> None:
    created = {"type": "created", "occurred_at": 1763800000000, "source_system": "web"}
    created |= {"subject": {"lead_id": "lead-1"}, "payload": {"source": "web", "generated_by": "marketing"}}
    (tmp_path / "e.ndjson").write_text(json.dumps(created))
    result = run("replay", "e.ndjson", "--as-of", given)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: --as-of {given!r}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("out", ["folder", "/proc/leads.ndjson", "none/leads.ndjson"])
def test_import_says_where_it_cannot_write(run: Run, tmp_path: Path, out: str) -> None:
    (tmp_path / "leads.csv").write_text(LEADS)
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "folder").mkdir()
    result = run("import", "leads.csv", "-m", "m.toml", "-o", out)
    assert result.exit_code == 2
    assert "Error" not in result.stderr
    assert (
        result.stderr.startswith(f"error: {out.removesuffix('/leads.ndjson')}")
        or "no folder" in result.stderr
    )


@pytest.mark.parametrize(
    ("kind", "cell"), [("minor_units", "1e999999"), ("minor_units", "1e9999"), ("number", "1e999")]
)
def test_a_number_beyond_all_bounds_is_a_bad_row(run: Run, tmp_path: Path, kind: str, cell: str) -> None:
    (tmp_path / "leads.csv").write_text(f"id,on,origin\nlead-1,2026-01-01,{cell}\n")
    wanted = f'{{ column = "origin", type = "{kind}" }}'
    (tmp_path / "m.toml").write_text(MAPPING.replace('{ column = "origin" }', wanted))
    result = run("import", "leads.csv", "-m", "m.toml")
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stderr.startswith("leads.csv:2:origin: ")
    assert result.stderr.endswith("error: 1 bad row; mend it or the mapping, or skip it by --keep-going\n")


def test_the_example_of_an_event_in_the_help_of_publish_is_one_that_can_be_published(run: Run) -> None:
    text = " ".join(run("publish", "--help").stdout.split())
    example = text[text.index('{"type"') : text.index("}}") + 2]
    assert checked(example.encode(), "help").problem == ""
    assert "echo" not in text


def test_a_dead_letter_tells_when_as_an_instant() -> None:
    bad = Record("lead.events.v1", 3, 17, 1_763_800_000_000, b"lead-1", b"{", [])
    letter = dead_letter("letters", bad, "bad_json", "value: no JSON", 900_000)
    record = Record("letters", 0, 0, 1, letter.key, letter.value, list(letter.headers))
    assert decoding.dead_letter(record)["timestamp"] == "2025-11-22T08:26:40Z"


def test_reference_events_that_workers_could_not_use_are_not_published(run: Run, tmp_path: Path) -> None:
    owner = {"type": "owner_changed", "occurred_at": "2026-11-01T00:00:00Z", "source_system": "x"}
    good = owner | {
        "payload": {"owner": "o-1", "team": "sales", "active": True, "time_zone": "Europe/Berlin"}
    }
    bad = owner | {"payload": {"owner": "o-2", "team": "sales", "active": True, "time_zone": "Berlin"}}
    (tmp_path / "owners.ndjson").write_text(json.dumps(good) + "\n" + json.dumps(bad))
    result = run("reference", "set", "events", "owners.ndjson")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: owners.ndjson:2: owner_changed at 2026-11-01T00:00:00Z: owner o-2: there is no time zone 'Berlin'; "
        "that of the calendar is used; nothing was published\n"
    )


def test_reference_data_are_dated_by_the_clock_of_the_deployment() -> None:
    settings = Settings(clock="fixed:2018-11-14T18:00:00Z")
    line = reference_event(settings, "campaign_renamed", {"old": "a", "new": "b"})
    assert line.event["occurred_at"] == 1_542_218_400_000


def test_schemas_are_listed_shown_and_checked(run: Run) -> None:
    listed = json.loads(run("schemas", "list", "--json").stdout)
    assert {"page_viewed", "handoff"} <= {each["name"] for each in listed}
    shown = json.loads(run("schemas", "show", "handoff").stdout)
    assert shown["type"] == "record"
    result = run("schemas", "check")
    assert result.exit_code == 0, result.output
    assert "0 problems" in result.stderr


def test_a_definition_is_checked_shown_and_compared(run: Run, tmp_path: Path) -> None:
    text = run("definition", "show", "default", "--toml").stdout
    (tmp_path / "ours.toml").write_text(text)
    assert run("definition", "check", "ours.toml").exit_code == 0
    same = run("definition", "diff", "default", "ours.toml")
    assert (same.stdout, same.exit_code) == ("There is no difference.\n", 0)
    (tmp_path / "theirs.toml").write_text('name = "theirs"\nversion = 1\n[thresholds]\nup = 41\n')
    assert "41" in run("definition", "diff", "default", "theirs.toml").stdout
    assert len(run("definition", "show").stdout.splitlines()) > 20


def test_a_broken_definition_is_told_line_by_line_and_exits_2(run: Run, tmp_path: Path) -> None:
    (tmp_path / "ours.toml").write_text('name = "ours"\nversion = 1\ncolour = "red"\n')
    result = run("definition", "check", "ours.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ours.toml:3: ")
    assert "colour" in result.stderr


@pytest.mark.parametrize(
    "command",
    [("queue",), ("show", "lead-1"), ("handoffs", "list"), ("flood", "list"), ("definition", "list"), ("figures",), ("worker",)],
    ids=" ".join,
)  # fmt: skip
def test_a_broken_definition_of_the_settings_is_told_by_every_command(
    run: Run, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "ours.toml").write_text('name = "ours"\nversion = 1\ncolour = "red"\n')
    result = run(*command, LEADSTREAM_DEFINITION="ours.toml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ours.toml:3: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("publish", "default", "--signed-by", "kitchen"), "asks for the approval of marketing, sales"),
        (("publish", "default", "--unsigned", "--effective-at", "2020-01-01T00:00:00Z"), "in the past"),
        (("publish", "default", "--effective-at", "tomorrow"), "write an ISO instant with its zone"),
        (("publish", "none.toml"), "none.toml: no such definition"),
        (("approve", "default", "--team", "sales", "--by", "owner-1"), "default: write NAME@VERSION"),
        (("approve", "default@x", "--team", "sales", "--by", "owner-1"), "default@x: write NAME@VERSION"),
    ],
)
def test_a_publication_or_approval_that_cannot_be_meant_is_refused_at_once(
    run: Run, arguments: tuple[str, ...], words: str
) -> None:
    result = run("definition", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert words in result.stderr


def test_the_doctor_says_that_the_broker_is_away_and_goes_on_with_the_rest(
    run: Run, unused_port: int
) -> None:
    result = run("doctor", "--json", LEADSTREAM_BOOTSTRAP=f"127.0.0.1:{unused_port}")
    assert result.exit_code == 1
    status = {finding["check"]: finding["status"] for finding in json.loads(result.stdout)}
    assert status == {"versions": "ok", "definition": "ok", "schemas": "ok", "broker": "wrong"}
