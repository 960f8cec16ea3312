"""Settings come from defaults, a file and the environment, and every mistake is one line with a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.settings import (
    ALL_OUTPUTS,
    MASK,
    SIDE_INPUTS,
    SOURCES,
    Settings,
    SettingsError,
    Topics,
    fields,
    load,
    load_with_origin,
    shown,
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where no leadstream.toml lies


def refused(environ: dict[str, str], path: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(path, environ)
    return str(caught.value)


def test_defaults_need_nothing() -> None:
    settings = load(None, {})
    assert settings == Settings()
    assert settings.changelog == "leadstream-subjects-changelog"
    assert settings.fixed_now_ms is None


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path) -> None:
    file = tmp_path / "prod.toml"
    file.write_text('partitions = 16\napp_id = "funnel"\n')
    loaded = load_with_origin(file, {"LEADSTREAM_PARTITIONS": "32", "HOME": "/"})
    assert (loaded.settings.partitions, loaded.settings.app_id) == (32, "funnel")
    assert loaded.origin["partitions"] == "env:LEADSTREAM_PARTITIONS"
    assert loaded.origin["app_id"] == f"file:{file}"
    assert loaded.origin["web_port"] == "default"


def test_the_file_is_named_by_option_then_environment_then_found_here(tmp_path: Path) -> None:
    (tmp_path / "leadstream.toml").write_text("partitions = 2\n")
    (tmp_path / "named.toml").write_text("partitions = 3\n")
    (tmp_path / "option.toml").write_text("partitions = 4\n")
    named = {"LEADSTREAM_CONFIG": str(tmp_path / "named.toml")}
    assert load(None, {}).partitions == 2
    assert load(None, named).partitions == 3
    assert load(tmp_path / "option.toml", named).partitions == 4


def test_folders_of_caches_and_test_data_are_no_settings() -> None:
    assert load(None, {"LEADSTREAM_CACHE": "/somewhere", "LEADSTREAM_DATA": "/else"}) == Settings()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"LEADSTREAM_PARTITONS": "8"}, "did you mean 'LEADSTREAM_PARTITIONS'?"),
        ({"LEADSTREAM_PARTITIONS": "many"}, "LEADSTREAM_PARTITIONS = 'many'"),
        ({"LEADSTREAM_PARTITIONS": "0"}, "Expected `int` >= 1"),
        ({"LEADSTREAM_LOG_LEVEL": "loud"}, "LEADSTREAM_LOG_LEVEL = 'loud'"),
        ({"LEADSTREAM_APP_ID": "a b"}, "LEADSTREAM_APP_ID = 'a b'"),
        ({"LEADSTREAM_CLOCK": "fixed:yesterday"}, "fixed:2026-11-22T10:00:00Z"),
        ({"LEADSTREAM_CLOCK": "fixed:2026-11-22T10:00:00"}, "with its zone"),
        ({"LEADSTREAM_MIN_ISR": "2"}, "lower min_isr or raise replication"),
        ({"LEADSTREAM_SECURITY_PROTOCOL": "SASL_SSL"}, "needs sasl_mechanism"),
        ({"LEADSTREAM_SASL_USERNAME": "u"}, "does not log in"),
        ({"LEADSTREAM_BOOTSTRAP": "broker"}, "'broker' is not host:port"),
        ({"LEADSTREAM_SSL_CAFILE": "nowhere.pem"}, "ssl_cafile = 'nowhere.pem': no such file"),
        ({"LEADSTREAM_CONFIG": "nowhere.toml"}, "no such settings file; correct LEADSTREAM_CONFIG"),
    ],
)
def test_a_mistake_is_one_line_with_the_remedy(environ: dict[str, str], says: str) -> None:
    text = refused(environ)
    assert says in text
    assert "\n" not in text


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text('partitions = "8"\ncolour = 1\n')
    lines = refused({"LEADSTREAM_WEB_PORT": "-1"}, file).splitlines()
    assert len(lines) == 3
    assert f"{file}: partitions = '8'" in lines[0]
    assert f"{file}: unknown setting 'colour'" in lines[1]
    assert "LEADSTREAM_WEB_PORT" in lines[2]


def test_a_file_that_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "s.toml"
    file.write_text("partitions = 8\napp_id =\n")
    assert "line 2" in refused({}, file)


def test_a_secret_is_never_shown() -> None:
    secret = {
        "LEADSTREAM_SASL_PASSWORD": "hunter2",
        "LEADSTREAM_SASL_USERNAME": "u",
        "LEADSTREAM_SASL_MECHANISM": "PLAIN",
        "LEADSTREAM_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
    }
    settings = load(None, secret)
    by_name = {field.name: field for field in fields()}
    assert shown(by_name["sasl_password"], settings) == MASK
    assert settings.security()["sasl_plain_password"] == "hunter2"
    assert "hunter2" not in refused({**secret, "LEADSTREAM_SASL_MECHANISM": "GUESS"})


def test_every_setting_is_documented_and_has_its_variable() -> None:
    assert {field.name for field in fields()} == set(Settings.__struct_fields__)
    for field in fields():
        assert field.doc, field.name
        assert field.env == f"LEADSTREAM_{field.name.upper()}"
        if field.name.endswith("_ms"):
            assert field.unit == "ms"
        if field.name.endswith("_s"):
            assert field.unit == "s"


def test_a_fixed_clock_is_an_instant() -> None:
    assert load(None, {"LEADSTREAM_CLOCK": "fixed:2026-01-01T01:00:00+01:00"}).fixed_now_ms == 1767225600000


def test_topics_carry_the_prefix_and_are_found_by_any_of_their_names() -> None:
    topics = load(None, {"LEADSTREAM_TOPIC_PREFIX": "eu."}).topics
    assert topics.handoffs == "eu.lead.handoffs.v1"
    for name in ("handoffs", "lead.handoffs.v1", "eu.lead.handoffs.v1"):
        assert topics.field_of(name) == "handoffs"
    assert topics.field_of("us.lead.handoffs.v1") is None
    assert set(SOURCES) | set(SIDE_INPUTS) | set(ALL_OUTPUTS) == set(Topics.__struct_fields__)
