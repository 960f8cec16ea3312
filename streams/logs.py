"""The worker's log: plain lines on stderr, few of them."""

from __future__ import annotations

import logging
import time

#: mode logs the life of a service under the name of its module.
_SERVICES = (
    "streams.app",
    "streams.reference",
    "streams.table",
    "streams.transport",
    "streams.watchdog",
    "streams.web.side",
)


class OncePer(logging.Filter):
    """Lets the same message of aiokafka through once in a while.

    While a broker is away, each of its clients complains several times a second.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            return True
        key, now = (record.name, str(record.msg)), time.monotonic()
        if now - self._said.get(key, -self._seconds) < self._seconds:
            return False
        if len(self._said) > 1_000:
            self._said.clear()
        self._said[key] = now
        return True


def set_up_logging(level: str) -> None:
    """``level`` for our own lines; the libraries' only with ``debug``, except for Kafka's errors."""
    debug = level == "debug"
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    libraries: dict[str, int] = {
        # They tell of each rebalance and crash with tracebacks; the worker tells it in one line.
        **dict.fromkeys(("faust", "mode", "asyncio", *_SERVICES), logging.CRITICAL),
        "aiokafka.consumer.group_coordinator": logging.CRITICAL,
        # Refused connections and logins show their cause only here.
        "aiokafka": logging.ERROR,
        "aiohttp": logging.ERROR,
    }
    for name, quiet in libraries.items():
        logging.getLogger(name).setLevel(logging.INFO if debug else quiet)
    if not debug:
        for handler in logging.getLogger().handlers:
            handler.addFilter(OncePer(10.0))
