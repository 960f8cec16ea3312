"""Keeps the view up to date: asks the workers, counts, draws; on a terminal in place, else line by line."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from processors.model import EXITS
from streams.clock import ScaledClock
from streams.definitions import base_definition
from streams.demo import view
from streams.demo.board import Board
from streams.demo.scrape import Figures, Scraper, figures
from streams.demo.stack import Workers
from streams.demo.view import Frame, Worker
from streams.settings import Settings
from streams.sources.sim_model import DAY

_REFRESH_S = 0.5
_PLAIN_S = 3.0
#: Events per second are the mean over so long.
_RATE_S = 10.0
#: Entries to mql that are no news of the day.
_NOT_NEW = ("implied", "imported")


class Show:
    """A context manager; call `refresh` often."""

    def __init__(
        self,
        settings: Settings,
        clock: ScaledClock,
        start_ms: int,
        workers: Workers,
        console: Console,
        *,
        plain: bool,
    ) -> None:
        self.board = Board()
        self._clock = clock
        self._start_ms = start_ms
        self._all = workers
        self._console = console
        self._where = f"BOOTSTRAP={settings.bootstrap}"
        self._partitions = settings.partitions
        self._stages = [stage.name for stage in base_definition(settings).stages]
        self._scraper = Scraper({each.name: each.url for each in workers.all})
        self._figures = Figures({})
        self._round = 0
        self._next = 0.0
        self._told: set[str] = set()
        self._counted: deque[tuple[float, float]] = deque()
        self._day = 0
        self._whole = False
        self._mqls_before: float | None = None
        self._live = None if plain or not console.is_terminal else Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._scraper.start()
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scraper.close()
        if self._live is not None:
            self._live.stop()

    def refresh(self) -> None:
        """Draw again if it is time to."""
        self._tell()
        now = time.monotonic()
        if now < self._next or not self._scraper.rounds:
            return
        self._next = now + (_PLAIN_S if self._live is None else _REFRESH_S)
        frame = self._frame()
        if self._live is None:
            self._console.print(view.line(frame), soft_wrap=True)
        else:
            size = self._console.size
            self._live.update(view.screen(frame, size.width, size.height), refresh=True)

    def workers(self) -> list[Worker]:
        """How the workers are, by what they say themselves."""
        return [self._worker(number) for number in range(len(self._all.all))]

    def _worker(self, number: int) -> Worker:
        process = self._all.all[number]
        answer = self._scraper.answers.get(process.name)
        found = figures([answer]) if answer else Figures({})
        ready, live = (found.one(f"transport_{kind}_partitions") for kind in ("ready", "live"))
        if process.code is not None:
            state = f"ended with code {process.code}"
        elif process.name not in self._scraper.answers:
            state = "ready"
        elif answer is None:
            state = "does not answer"
        elif not ready:
            state = "waits for partitions"
        else:
            state = "live" if live == ready else "catching up"
        lag = found.one("transport_lag_records")
        return Worker(process.name, process.url, process.pid, state, int(ready), int(lag))

    def _frame(self) -> Frame:
        workers = self.workers()
        now_ms = self._clock.now_ms()
        if self._round != self._scraper.rounds:
            self._round = self._scraper.rounds
            self._figures = figures(text for text in self._scraper.answers.values() if text)
            if not self._whole and self._is_whole():
                self._whole = True
                self._counted.clear()  # the history was no traffic
            self._counted.append((time.monotonic(), self._figures.total("events_total")))
            while self._counted[-1][0] - self._counted[0][0] > _RATE_S:
                self._counted.popleft()
        return Frame(
            now_ms=now_ms,
            speed=float(self._clock.factor),
            stages=self._stages,
            exits=tuple(EXITS.values()),
            figures=self._figures,
            events_per_s=self._rate(),
            mqls_today=self._mqls_today(now_ms),
            board=self.board,
            workers=workers,
            where=self._where,
        )

    def _rate(self) -> float:
        (began, before), (ended, after) = self._counted[0], self._counted[-1]
        return max(0.0, after - before) / (ended - began) if ended > began else 0.0

    def _is_whole(self) -> bool:
        """Every partition has an owner that has caught up."""
        return self._figures.one("transport_live_partitions") == self._partitions

    def _mqls_today(self, now_ms: int) -> int:
        """Since midnight, or since the history was folded: entries before are not told apart."""
        mqls = sum(n for (series,), n in self._figures.all("mqls").items() if series not in _NOT_NEW)
        if self._whole and self._is_whole() and (self._mqls_before is None or now_ms // DAY != self._day):
            self._day, self._mqls_before = now_ms // DAY, mqls
        return int(max(0.0, mqls - (self._mqls_before if self._mqls_before is not None else mqls)))

    def _tell(self) -> None:
        """What is said once: a worker's end, and on paper every handoff."""
        for process in self._all.all:
            if process.code is not None and process.name not in self._told:
                self._told.add(process.name)
                self._console.print(
                    f"{process.name} has ended with code {process.code}; the others take over its partitions. "
                    f"Its log: {process.log}\n{process.last_words()}",
                    soft_wrap=True,
                )
        if self._live is None:
            for call in reversed(self.board.latest(10)):
                if call.started_at >= self._start_ms and call.handoff_id not in self._told:
                    self._told.add(call.handoff_id)
                    self._console.print(view.handoff_line(call), soft_wrap=True)
