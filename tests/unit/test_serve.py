"""The query API: the figures as JSON over HTTP, the same as the command line prints them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from processors.report import FIGURES
from streams import state_reader
from streams.cli.figures import print_report
from streams.cli.serve import KEPT, Figures, Read, reading
from streams.kafka_tools import KafkaToolError
from streams.settings import Settings
from streams.state_reader import figures_of_rows, loaded
from tests.money_world import Shop, on
from tests.strategies import T0

Answer = tuple[int, Any]


@pytest.fixture(scope="module")
def shop() -> Shop:
    f = Shop(now=T0)
    f.say("page_viewed", on(1), {"url": "https://example.org/?utm_medium=social&utm_campaign=spring"})
    f.say("created", on(1) + 1, {"source": "social", "generated_by": "marketing"})
    f.spend("social", "2026-03-01", "2026-03-10", 900, campaign="spring")
    f.opened(2, 1000)
    f.won(5, 1000)
    f.until(on(12))
    return f


class Source:
    """Reads a shop, and counts how often."""

    def __init__(self, f: Shop) -> None:
        self.f = f
        self.read: list[int | None] = []

    def __call__(self, at: int | None) -> Read:
        self.read.append(at)
        as_of = self.f.now if at is None else at
        totals = figures_of_rows(loaded(self.f.driver.all_rows()), self.f.topology, as_of)
        return Read(as_of, self.f.topology, totals, ("a note",))


def ask(read: Callable[[int | None], Read], *questions: str, max_age: float = 60) -> list[Answer]:
    async def asked() -> list[Answer]:
        server = TestServer(Figures(read, max_age).application())
        async with TestClient(server) as client:
            found = []
            for question in questions:
                async with client.get(question) as response:
                    assert response.content_type == "application/json"
                    found.append((response.status, await response.json()))
            return found

    return asyncio.run(asked())


def test_it_answers_as_the_command_line_does(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    ((status, found),) = ask(Source(shop), "/figures?figure=roas&figure=spend&by=campaign&period=2026-03")
    assert status == 200
    roas = {v["labels"]["model"]: v for v in found["figures"] if v["figure"] == "roas"}
    assert (roas["last"]["labels"]["campaign"], roas["last"]["exact"]) == ("spring", "10/9")
    (whole,) = ask(Source(shop), "/figures")
    totals = figures_of_rows(loaded(shop.driver.all_rows()), shop.topology, shop.now)
    print_report(
        totals, shop.topology.definitions, shop.now, as_json=True, market=shop.topology.market,
        reference=shop.topology.reference, notes=["a note"],
    )  # fmt: skip
    assert whole == (200, json.loads(capsys.readouterr().out))


def test_it_tells_how_things_stood_and_by_which_formulas(shop: Shop) -> None:
    then, formulas = ask(
        Source(shop), "/figures?figure=booked_revenue&as_of=2026-03-04T00:00:00Z", "/formulas"
    )
    assert (then[1]["as_of"], then[1]["figures"][0]["value"]) == ("2026-03-04T00:00:00Z", 0)
    assert [x["figure"] for x in formulas[1]] == [f.name for f in FIGURES]


def test_what_was_read_is_good_for_a_while(shop: Shop) -> None:
    source = Source(shop)
    ask(source, "/figures?figure=leads", "/figures?figure=mqls", "/figures?figure=leads&as_of=5", "/figures")
    assert source.read == [None, 5]
    many = [f"/figures?figure=leads&as_of={n}" for n in range(KEPT + 1)]
    again = Source(shop)
    ask(again, *many, many[-1], many[0])
    assert again.read == [*range(KEPT + 1), 0], "the oldest one is forgotten"
    never = Source(shop)
    ask(never, "/figures?figure=leads", "/figures?figure=leads", max_age=0)
    assert never.read == [None, None]


@pytest.mark.parametrize(
    ("question", "status", "words"),
    [
        ("/figures?figure=happiness", 400, "figure happiness: there are leads"),
        ("/figures?by=colour", 400, "by colour: figures can be split by"),
        ("/figures?period=soon", 400, "period 'soon'"),
        ("/figures?as_of=soon", 400, "as_of 'soon'"),
        ("/figures?team=sales", 400, "team: a question has figure, by, period, as_of"),
        ("/leads", 404, "/figures and /formulas"),
    ],
)
def test_a_question_that_cannot_be_answered_is_told_why(
    shop: Shop, question: str, status: int, words: str
) -> None:
    ((code, found),) = ask(Source(shop), question)
    assert code == status
    assert words in found["error"]


def test_without_a_broker_it_says_so_and_goes_on(shop: Shop) -> None:
    def broken(_at: int | None) -> Read:
        raise KafkaToolError("no broker answers")

    answers = ask(broken, "/figures", "/formulas")
    assert answers[0] == (503, {"error": "no broker answers"})
    assert answers[1][0] == 200


def test_it_reads_the_rows_and_what_is_known_of_the_market(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state_reader, "topology", lambda _settings: shop.topology)
    monkeypatch.setattr(state_reader, "rows", lambda _settings: loaded(shop.driver.all_rows()))
    read = reading(Settings(clock="fixed:2026-03-12T12:00:00Z"))
    assert (read(None).as_of_ms, read(None).totals) == (on(12), Source(shop)(on(12)).totals)
    assert read(on(4)).totals == Source(shop)(on(4)).totals
