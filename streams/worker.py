"""How the worker process is run: from settings to an exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
import traceback

from aiokafka.errors import KafkaError

from streams.app import App, Logic, create_app
from streams.errors import WorkerError
from streams.logs import set_up_logging
from streams.settings import Settings

#: An orchestrator's patience is about 5 s; what is not stopped by then is cut off.
STOP_S = 4.5
CRASH_STOP_S = 3.0

log = logging.getLogger("leadstream")


def run(settings: Settings, topology: Logic | None = None) -> int:
    """Run a worker until it is told to stop (SIGTERM, SIGINT: 0) or cannot go on (1).

    :param topology: instead of leadstream's own, in tests.
    """
    set_up_logging(settings.log_level)
    if topology is None:
        from streams.topology import build

        topology = build(settings)
    tune_collector()
    cut_off = CutOff()
    code = asyncio.run(_serve(settings, topology, cut_off))
    cut_off.cancel()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.main_thread()):
        _end(code)  # a client's thread hangs: the interpreter would wait for it for ever
    return code


def tune_collector() -> None:
    """Let the cyclic collector run rarely: decoded rows are acyclic, and at its defaults walking them again and again
    took a quarter of the time of folding (37.8 against 28 µs per event)."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _serve(settings: Settings, topology: Logic, cut_off: CutOff) -> int:
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
    cut_off.after(STOP_S if error is None else CRASH_STOP_S)
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


class CutOff:
    """Ends the process if its stop hangs; what was in hand is aborted and processed again."""

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None

    def after(self, seconds: float) -> None:
        def late() -> None:
            log.error("the stop took longer than %.1f s and was cut off; nothing is lost", seconds)
            _end(1)

        self._timer = threading.Timer(seconds, late)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def _end(code: int) -> None:
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)
