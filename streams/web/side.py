"""``/metrics``, ``/livez`` and ``/readyz`` on a port of their own, there before the recovery starts.

Faust starts its own web server with the rest of the worker and mixes its own pages in; it stays off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import mode
from aiohttp import web

from streams.errors import WorkerError

#: What is wrong, in a few words; "" if nothing is.
Verdict = Callable[[], str]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class SideServer(mode.Service):
    """Runs on the worker's event loop: if that hangs, so do the answers, and the probe fails.

    :param port: 0 for any free one; `url` tells which.
    :param routes: further pages.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        alive: Verdict,
        ready: Verdict,
        exposition: Callable[[], str],
        routes: Iterable[web.AbstractRouteDef] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._host = host
        self._port = port
        self._alive = alive
        self._ready = ready
        self._exposition = exposition
        self._routes = tuple(routes)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """``http://host:port`` once it is started, else ``""``."""
        if self._runner is None or not self._runner.addresses:
            return ""
        host, port = self._runner.addresses[0][:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    async def on_start(self) -> None:
        pages = web.Application()
        pages.add_routes(
            [
                web.get("/livez", self._livez),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._metrics),
                *self._routes,
            ]
        )
        runner = web.AppRunner(pages, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise WorkerError(
                f"cannot listen on {self._host}:{self._port}: {error.strerror or error}; set web_host and "
                f"web_port (0: any free port)"
            ) from error
        self._runner = runner

    async def on_stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        return _answer(self._alive())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _answer(self._ready())

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._exposition(), headers={"Content-Type": CONTENT_TYPE})


def _answer(wrong: str) -> web.Response:
    return web.Response(text=f"{wrong or 'ok'}\n", status=503 if wrong else 200)
