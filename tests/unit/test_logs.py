"""A broker that is away must not fill the disk with complaints."""

from __future__ import annotations

import logging
import time

import pytest

from streams import logs


def record(name: str, message: str) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, message, None, None)


def test_the_same_complaint_of_kafkas_client_is_heard_once_in_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    once = logs.OncePer(10)
    assert once.filter(record("aiokafka", "away"))
    assert not once.filter(record("aiokafka", "away"))
    assert once.filter(record("aiokafka", "another"))
    assert once.filter(record("aiokafka.client", "away"))
    now[0] += 10
    assert once.filter(record("aiokafka", "away"))


def test_our_own_lines_are_always_heard() -> None:
    once = logs.OncePer(10)
    assert all(once.filter(record("leadstream", "live")) for _ in range(3))
