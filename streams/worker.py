"""How the worker process is run: from settings to an exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import traceback

from aiokafka.errors import KafkaError

from streams.app import App, Logic, create_app
from streams.errors import WorkerError
from streams.settings import Settings

#: An orchestrator's patience is about 5 s; what is not stopped by then is cut off.
STOP_S = 4.5
CRASH_STOP_S = 3.0

#: mode logs the life of a service under the name of its module.
_SERVICES = (
    "streams.app",
    "streams.reference",
    "streams.table",
    "streams.transport",
    "streams.watchdog",
    "streams.web.side",
)

log = logging.getLogger("leadstream")


def run(settings: Settings, topology: Logic | None = None) -> int:
    """Run a worker until it is told to stop (SIGTERM, SIGINT: 0) or cannot go on (1).

    :param topology: instead of leadstream's own, in tests.
    """
    set_up_logging(settings.log_level)
    if topology is None:
        from streams.topology import build

        topology = build(settings)
    code = asyncio.run(_serve(settings, topology))
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        _cut_off(code)  # a client's thread hangs: the interpreter would wait for it for ever
    return code


async def _serve(settings: Settings, topology: Logic) -> int:
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    app = create_app(settings, topology)
    log.info(
        "starting: app_id %s, Kafka %s, %d partitions, pid %d",
        settings.app_id,
        settings.bootstrap,
        settings.partitions,
        os.getpid(),
    )
    error = await _until_stopped(app, asked)
    if error is None:
        log.info("stopping")
    else:
        _report(error, settings.log_level)
    _arm(STOP_S if error is None else CRASH_STOP_S)
    try:
        await app.stop()
    except Exception as trouble:  # noqa: BLE001 (the end of a broken process is what was reported already)
        log.debug("while stopping: %r", trouble)
    if error is None:
        log.info("stopped")
    return 0 if error is None else 1


async def _until_stopped(app: App, asked: asyncio.Event) -> BaseException | None:
    """Start and wait; what ended the worker, None if it was asked to stop."""
    starting = asyncio.create_task(app.start())
    ends = [asyncio.create_task(event.wait()) for event in (asked, app.failed)]
    try:
        await asyncio.wait([starting, *ends], return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():  # stopped or failed on the way up
            starting.cancel()
            await asyncio.wait([starting], timeout=1.0)
        elif starting.exception() is None:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for end in ends:
            end.cancel()
    if app.crash_reason is not None:
        reason: BaseException = app.crash_reason
        return reason
    return starting.exception() if starting.done() and not starting.cancelled() else None


def _report(error: BaseException, level: str) -> None:
    """One line that says what ended the worker and what to do; the traceback only for who debugs."""
    if isinstance(error, WorkerError):
        log.error("%s", error)
    elif isinstance(error, KafkaError):
        log.error("Kafka: %s: %s; start again, the worker goes on where it committed", _name(error), error)
    else:
        frame = (traceback.extract_tb(error.__traceback__) or [None])[-1]
        place = f" at {frame.filename}:{frame.lineno} in {frame.name}" if frame else ""
        log.error("%s: %s%s; log_level = debug shows more", _name(error), error, place)
    if level == "debug":
        log.debug("cause", exc_info=error)


def _name(error: BaseException) -> str:
    return type(error).__name__


def _arm(seconds: float) -> None:
    """Cut the process off if the stop hangs; what was in hand is aborted and processed again."""

    def late() -> None:
        log.error("the stop took longer than %.1f s and was cut off; nothing is lost", seconds)
        _cut_off(1)

    timer = threading.Timer(seconds, late)
    timer.daemon = True
    timer.start()


def _cut_off(code: int) -> None:
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


def set_up_logging(level: str) -> None:
    """Plain lines on stderr. The libraries are heard only with ``debug``, except for Kafka's errors."""
    debug = level == "debug"
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    libraries: tuple[tuple[str, int], ...] = (
        # They tell of each rebalance and crash with tracebacks; the worker tells it in one line.
        *((name, logging.CRITICAL) for name in ("faust", "mode", "asyncio", *_SERVICES)),
        ("aiokafka.consumer.group_coordinator", logging.CRITICAL),
        # Refused connections and logins show their cause only here.
        ("aiokafka", logging.ERROR),
        ("aiohttp", logging.ERROR),
    )
    for name, quiet in libraries:
        logging.getLogger(name).setLevel(logging.INFO if debug else quiet)
