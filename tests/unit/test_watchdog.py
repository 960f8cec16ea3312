"""The watchdog barks when something is under way and nothing moves; never at a quiet worker."""

from __future__ import annotations

import pytest

from streams import watchdog
from streams.watchdog import Watchdog


class World:
    def __init__(self) -> None:
        self.now = 100.0
        self.busy = ""
        self.progress = 0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(watchdog, "time", made)
    return made


@pytest.fixture
def dog(world: World) -> Watchdog:
    return Watchdog(lambda: world.busy, lambda: world.progress, 60.0)


def test_a_quiet_worker_is_not_stuck(world: World, dog: Watchdog) -> None:
    for _ in range(5):
        world.now += 50
        assert dog.stuck() == ""


def test_a_busy_one_without_progress_is(world: World, dog: Watchdog) -> None:
    assert dog.stuck() == ""
    world.busy = "rows are being restored"
    for _ in range(61):
        world.now += 1
        assert dog.stuck() == ""
    world.now += 1
    assert dog.stuck() == "stuck: rows are being restored, no progress for 61 s"


def test_a_worker_that_was_stopped_itself_is_not_stuck(world: World, dog: Watchdog) -> None:
    world.busy = "records wait"
    assert dog.stuck() == ""
    world.now += 3_600
    assert dog.stuck() == ""
    world.progress += 1
    world.now += 1
    assert dog.stuck() == ""


def test_any_progress_is_enough(world: World, dog: Watchdog) -> None:
    world.busy = "rows are being restored"
    for _ in range(5):
        world.now += 50
        world.progress += 1
        assert dog.stuck() == ""
    world.busy = ""
    world.now += 100
    assert dog.stuck() == ""
    world.busy = "records wait"
    world.now += 59
    assert dog.stuck() == ""
