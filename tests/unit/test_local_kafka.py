"""The local broker without a broker: what it says when something is missing."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from streams import kafka_jars
from streams.local_kafka import LocalKafka, LocalKafkaError, console_tool, free_ports, main


def test_missing_java_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_jars, "_javas", lambda: iter(["/nowhere/java"]))
    with pytest.raises(
        LocalKafkaError, match=r"Java 17 or newer was not found.*does not run.*apt-get install"
    ):
        kafka_jars.java()


def test_old_java_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.setattr(kafka_jars, "_javas", lambda: iter([str(old)]))
    with pytest.raises(LocalKafkaError, match="is Java 11"):
        kafka_jars.java()


def test_missing_maven_names_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEADSTREAM_CACHE", str(tmp_path))
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "mvn" else which(name))
    assert main(["fetch"]) == 2
    assert "apt-get install maven" in capsys.readouterr().err


def test_failed_fetch_shows_what_maven_said_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    maven = tmp_path / "mvn"
    maven.write_text("#!/bin/sh\necho 'no such mirror'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("LEADSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(LocalKafkaError, match="no such mirror"):
        kafka_jars.fetch()
    assert [p.name for p in (tmp_path / "cache" / "kafka").iterdir()] == [".lock"]


def test_free_ports_are_distinct_free_and_below_the_ephemeral_range() -> None:
    ports = free_ports(6)
    assert len(set(ports)) == 6
    assert max(ports) < 32_768
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))


def test_misuse_is_told(tmp_path: Path) -> None:
    with pytest.raises(LocalKafkaError, match="1 or 3 brokers"):
        LocalKafka(tmp_path, brokers=2)
    with pytest.raises(LocalKafkaError, match="not started yet"):
        _ = LocalKafka(tmp_path).bootstrap
    with pytest.raises(LocalKafkaError, match="ConsoleConsumer, ConsoleProducer"):
        console_tool("ConsoleGroups")
