"""``leadstream serve``: the query API. All figures as JSON over HTTP, for dashboards and spreadsheets that ask for what
may not be a label of a metric: campaigns, assets, owners, months and exact medians.

It reads the rows as `figures` does, beside the workers, and answers from what it has read for a while: a dashboard
asks for many figures at once. It answers whoever can reach it, and nothing it tells names a lead, a deal or an account.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, NamedTuple

import msgspec
import typer
from aiohttp import web

from processors.additive import Contribution
from processors.definition.reader import DefinitionError
from processors.model import RowVersionError
from streams.cli.console import UserError, instant_ms, say, settings_of
from streams.cli.events import prepare_codec
from streams.cli.figures import document, formulas_of, known_figures, parse_period, split_labels
from streams.clock import clock_of
from streams.kafka_tools import KafkaToolError
from streams.settings import Settings
from streams.topology import LeadTopology

#: Questions as of different instants whose answers are kept.
KEPT = 4
_ASKED = ("figure", "by", "period", "as_of")


class Read(NamedTuple):
    """What was read of all rows, as of an instant."""

    as_of_ms: int
    logic: LeadTopology
    totals: Contribution
    notes: tuple[str, ...] = ()


#: Reads everything as of an instant (epoch ms); None: now.
Reading = Callable[[int | None], Read]


class Figures:
    """Answers questions from what was read, at most ``max_age_s`` ago. One reading at a time, off the event loop."""

    def __init__(self, read: Reading, max_age_s: float) -> None:
        self._read = read
        self._max_age_s = max_age_s
        self._known: dict[int | None, tuple[float, Read]] = {}
        self._reading = asyncio.Lock()

    def application(self) -> web.Application:
        pages = web.Application(middlewares=[_in_words])
        pages.add_routes([web.get("/figures", self._figures), web.get("/formulas", _formulas)])
        return pages

    async def _figures(self, request: web.Request) -> web.Response:
        asked = request.query
        for name in asked:
            if name not in _ASKED:
                raise UserError(f"{name}: a question has {', '.join(_ASKED)}")
        by, only = split_labels(asked.getall("by", [])), known_figures(asked.getall("figure", []))
        period = parse_period(asked.get("period"))
        at = instant_ms(asked["as_of"], "as_of") if asked.get("as_of") else None
        found = await self._as_of(at)
        answer = await asyncio.to_thread(
            document, found.totals, found.logic.definitions, found.as_of_ms, by=by, period=period, only=only,
            market=found.logic.market, reference=found.logic.reference, notes=found.notes,
        )  # fmt: skip
        return _json(answer)

    async def _as_of(self, at: int | None) -> Read:
        async with self._reading:
            since, found = self._known.pop(at, (0.0, None))
            if found is None or time.monotonic() - since > self._max_age_s:
                since, found = time.monotonic(), await asyncio.to_thread(self._read, at)
            self._known[at] = since, found
            while len(self._known) > KEPT:
                del self._known[next(iter(self._known))]
            return found


async def _formulas(_request: web.Request) -> web.Response:
    return _json(formulas_of())


@web.middleware
async def _in_words(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """What is wrong, as the command line would say it."""
    try:
        return await handler(request)
    except UserError as error:
        return _json({"error": str(error).removeprefix("--")}, 400)
    except (KafkaToolError, RowVersionError, DefinitionError) as error:
        return _json({"error": str(error)}, 503)
    except web.HTTPNotFound:
        return _json({"error": "there are /figures and /formulas"}, 404)


def _json(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def reading(settings: Settings) -> Reading:
    """Reads the changelog, the definitions and the market, all anew."""
    from streams import state_reader

    def read(at: int | None) -> Read:
        as_of = clock_of(settings).now_ms() if at is None else at
        logic = state_reader.topology(settings)
        unsure: list[int] = []
        totals = state_reader.figures_of_rows(state_reader.rows(settings), logic, as_of, unsure.append)
        return Read(as_of, logic, totals, tuple(state_reader.UNSURE % n for n in unsure))

    return read


def register(app: typer.Typer) -> None:
    @app.command()
    def serve(
        context: typer.Context,
        host: Annotated[
            str, typer.Option("--host", help="Address to listen on. Whoever reaches it can ask.")
        ] = "127.0.0.1",
        port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Port to listen on.")] = 8601,
        max_age: Annotated[
            int, typer.Option("--max-age", min=0, help="Seconds for which what was read is good enough.")
        ] = 30,
    ) -> None:
        """Answer questions for figures with JSON over HTTP: GET /figures and /formulas.

        Parameters are those of `leadstream figures`: figure, by, period, as_of.

        Example: [bold]curl 'localhost:8601/figures?figure=roas&by=campaign&period=2026-10'[/bold]
        """
        settings = settings_of(context)
        prepare_codec(settings)

        async def application() -> web.Application:
            return Figures(reading(settings), max_age).application()

        say(f"http://{host}:{port}/figures; Ctrl-C ends it")
        web.run_app(application(), host=host, port=port, print=None, access_log=None)
