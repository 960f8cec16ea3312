"""How a clean event gets dirty on its way: again, late, overtaken, unreadable, under a wrong key."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import exp, log
from random import Random

from streams.sources.sim_model import DAY, HOUR, MINUTE, SECOND, Delivery, Dirt

_SOONEST, _LATEST = 2 * MINUTE, 5 * DAY
_LATE_SPAN = log(_LATEST / _SOONEST)


class Courier:
    """Brings events to the broker as badly as it was told to."""

    def __init__(self, rng: Random, dirt: Dirt) -> None:
        shares = {
            "late": dirt.late,
            "duplicates": dirt.duplicates,
            "reordered": dirt.reordered,
            "malformed": dirt.malformed,
            "wrong_keys": dirt.wrong_keys,
            "conflicts": dirt.conflicts,
        }
        for name, share in shares.items():
            if not 0 <= share <= 1:
                raise ValueError(f"dirt.{name} is {share}, but a share lies between 0 and 1")
        if sum(shares.values()) > 1:
            raise ValueError("the shares of dirt sum to more than 1: an event gets dirty in one way only")
        self._rng = rng
        deeds: dict[str, Callable[[Delivery], list[Delivery]]] = {
            "late": self._late, "duplicates": self._again, "reordered": self._hold, "malformed": self._garble,
            "wrong_keys": self._misdirect, "conflicts": self._contradict,
        }  # fmt: skip
        self._deeds: list[tuple[float, Callable[[Delivery], list[Delivery]]]] = []
        self.dirty = 0.0
        for name, share in shares.items():
            self.dirty += share
            self._deeds.append((self.dirty, deeds[name]))

    def spoil(self, clean: Delivery, draw: float) -> list[Delivery]:
        """The deliveries that become of one; ``draw`` < ``dirty`` chooses what happens to it."""
        for limit, deed in self._deeds:
            if draw < limit:
                return deed(clean)
        return [clean]

    def _late(self, clean: Delivery) -> list[Delivery]:
        wait = int(_SOONEST * exp(self._rng.random() * _LATE_SPAN))
        return [clean._replace(at_ms=clean.at_ms + wait)]

    def _again(self, clean: Delivery) -> list[Delivery]:
        out, at = [clean], clean.at_ms
        for _ in range(self._rng.choice((1, 1, 1, 2, 3))):
            at += int(self._rng.expovariate(1 / (10 * MINUTE))) + SECOND
            out.append(clean._replace(at_ms=at))
        return out

    def _hold(self, clean: Delivery) -> list[Delivery]:
        if clean.topic_key not in ("lead", "deal"):
            return [clean]
        return [clean._replace(at_ms=clean.at_ms + self._rng.randint(3 * MINUTE, 6 * HOUR))]

    def _garble(self, clean: Delivery) -> list[Delivery]:
        event = dict(clean.event)
        kind = self._rng.randrange(8)
        raw = b""
        if kind == 0:
            raw = json.dumps(event).encode()[: self._rng.randint(5, 60)]
        elif kind == 1:
            raw = b"\xff\xfe" + json.dumps(event).encode("utf-16-le")
        elif kind == 2:
            raw = b"\x00\x7f\xff\xff\xff" + b"\x02" * 20  # a schema id that nobody gave out
        elif kind == 3:
            event["occurred_at"] = None
        elif kind == 4:
            event["occurred_at"] = 0
        elif kind == 5:
            del event["type"]
        elif kind == 6:
            event["subject"] = {"lead_id": "somebody@mail.example"}
            event["type"], event["payload"] = "accepted", {}
        else:
            raw = json.dumps([event["type"], event["occurred_at"]]).encode()
        at = clean.at_ms + self._rng.randint(0, SECOND)
        return [clean, Delivery(at, clean.topic_key, clean.key, {}, raw or json.dumps(event).encode())]

    def _misdirect(self, clean: Delivery) -> list[Delivery]:
        if clean.topic_key in ("market", "reference"):
            return [clean]
        return [clean._replace(key=f"visit-{self._rng.randrange(10**6)}")]

    def _contradict(self, clean: Delivery) -> list[Delivery]:
        """The same identity again with another time, as a source does that stamps at each try."""
        again = dict(clean.event)
        again["occurred_at"] += self._rng.randint(1, 50) * SECOND
        return [clean, clean._replace(at_ms=clean.at_ms + 2 * MINUTE, event=again)]
