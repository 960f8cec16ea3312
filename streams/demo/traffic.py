"""What happens in the demo: a simulated company, and sales people who answer the handoffs of leadstream.

Weeks of it have happened before the demo begins, so that there are old leads, deals and habits to see. They are
played to the whole topology in memory, because sales people answer only what leadstream has handed to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush
from typing import NamedTuple

import msgspec

from schemas.codec import decode_output, encode_event
from streams.definitions import base_definition
from streams.driver import Driver
from streams.settings import Settings
from streams.sources.sim_model import DAY, HOUR, MINUTE, WEEK
from streams.sources.simulator import Delivery, Dirt, SalesDesk, Simulation
from streams.state_reader import loaded
from streams.topology import LeadTopology
from streams.win_model import snapshot
from streams.work import Message, Record

#: In the history sales looks into its inbox this often; less would make them slower than they are.
_STEP_MS = 10 * MINUTE
#: Some more than usual of what goes wrong, so that it can be seen within minutes.
_DIRT = Dirt(malformed=0.001, wrong_keys=0.001)
#: Everybody who reads these topics would be told of a malformed record, again and again.
_KEPT_CLEAN = ("reference", "market")
_MONDAY_8 = 4 * DAY + 8 * HOUR  # 1970-01-05T08:00Z was the first one


class Sent(NamedTuple):
    """A record and the simulated instant at which it reaches the broker."""

    at_ms: int
    message: Message


def monday_after(wall_ms: int) -> int:
    """The next Monday, 08:00 UTC: the simulation's present is never behind that of its users.

    So whatever they publish with their own clocks has happened already, and counts at once.
    """
    return wall_ms + (_MONDAY_8 - wall_ms) % WEEK


class Traffic:
    """The stream of records into the demo's topics, by simulated time.

    :param start_ms: where the live part begins; before it lie ``weeks`` of history.
    """

    def __init__(
        self, settings: Settings, seed: int, leads_per_day: float, start_ms: int, weeks: int
    ) -> None:
        self._settings = settings
        self._start_ms = start_ms
        begin = start_ms - start_ms % DAY - weeks * WEEK
        self._simulation = Simulation(
            seed, start_ms=begin, leads_per_day=leads_per_day, dirt=_DIRT, offline_sales=False
        )
        self._begin_ms = begin
        self._coming = self._simulation.events()
        self._next = next(self._coming, None)
        self.desk = SalesDesk(seed)
        self._answers: list[tuple[int, int, Delivery]] = []
        self._turn = 0

    def until(self, now_ms: int) -> Iterator[Sent]:
        """What reaches the broker up to ``now_ms``, in order. Every call goes on where the last one ended."""
        self._answer(self.desk.progress(now_ms))
        while (delivery := self._take(now_ms)) is not None:
            if delivery.raw is not None and delivery.topic_key in _KEPT_CLEAN:
                continue
            yield Sent(delivery.at_ms, self._message(delivery))

    def handed_over(self, value: bytes, now_ms: int) -> None:
        """Sales reads a record of the handoffs topic at ``now_ms``."""
        _, handoff = decode_output(value)
        self._answer(self.desk.on_handoff(handoff, now_ms))

    def history(self, check: Callable[[], None]) -> list[Sent]:
        """Everything up to the start of the live part, with a win model at the beginning of each week.

        :param check: called now and then; raises to give up.
        """
        # Played in its own time: the records are stamped as the simulation says.
        settings = msgspec.structs.replace(self._settings, clock="wall")
        topology = LeadTopology(settings, base_definition(settings))
        driver = Driver(topology, now_ms=self._begin_ms)
        names, partition = settings.topics, 0
        learned: list[Record] = []
        out: list[Sent] = []
        read = dict.fromkeys(range(driver.partitions), 0)
        for now_ms in range(self._begin_ms, self._start_ms + _STEP_MS, _STEP_MS):
            check()
            for sent in self.until(min(now_ms, self._start_ms)):
                out.append(sent)
                topic, key, value, *_ = sent.message
                if topic in (names.reference, names.market):
                    learned.append(Record(topic, partition, len(out), sent.at_ms, key, value))
                else:
                    driver.publish(topic, key, value, timestamp_ms=sent.at_ms)
            if now_ms > self._begin_ms and not (now_ms - self._begin_ms) % WEEK:
                made = snapshot(topology, loaded(driver.all_rows()), now_ms)
                message = Message(names.reference, made.key, encode_event(made.event(now_ms)))
                out.append(Sent(now_ms, message))
                learned.append(
                    Record(names.reference, partition, len(out), now_ms, message.key, message.value)
                )
            if learned:
                topology.learn(learned)
                learned.clear()
            driver.now_ms = min(now_ms, self._start_ms)
            driver.run()
            for number, log in enumerate(driver.topics.get(names.handoffs, ())):
                for record in log[read[number] :]:
                    self.handed_over(record.value or b"", driver.now_ms)
                read[number] = len(log)
        return out

    def _answer(self, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._turn += 1
            heappush(self._answers, (delivery.at_ms, self._turn, delivery))

    def _take(self, now_ms: int) -> Delivery | None:
        """The next delivery that is due: of the simulation, or an answer of sales."""
        coming = self._next
        if self._answers and (coming is None or self._answers[0][0] <= coming.at_ms):
            return heappop(self._answers)[2] if self._answers[0][0] <= now_ms else None
        if coming is None or coming.at_ms > now_ms:
            return None
        self._next = next(self._coming, None)
        return coming

    def _message(self, delivery: Delivery) -> Message:
        topic = str(getattr(self._settings.topics, delivery.topic_key))
        value = delivery.raw if delivery.raw is not None else encode_event(delivery.event)
        return Message(topic, delivery.key.encode(), value)
