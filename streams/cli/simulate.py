"""``leadstream simulate``: made-up traffic, printed or published."""

from __future__ import annotations

from collections import Counter
from typing import Annotated

import typer

from schemas.codec import encode_event
from streams.cli.console import AsJson, instant_ms, print_json, print_line, progress, settings_of
from streams.cli.events import prepare_codec
from streams.kafka_tools import Publisher
from streams.sources.simulator import START_MS, Dirt, Simulation
from streams.work import Message


def register(app: typer.Typer) -> None:
    @app.command()
    def simulate(
        context: typer.Context,
        events: Annotated[int, typer.Option("--events", "-n", min=1, help="How many.")] = 1000,
        seed: Annotated[int, typer.Option("--seed", help="Same seed, same events.")] = 1,
        start: Annotated[
            str | None, typer.Option("--start", help="First instant (ISO with zone, or ms); else 2025-01-06.")
        ] = None,
        leads_per_day: Annotated[
            float, typer.Option("--leads-per-day", min=0.01, help="Visitors who become leads.")
        ] = 40,
        clean: Annotated[
            bool, typer.Option("--clean", help="Without late, double and broken deliveries.")
        ] = False,
        publish: Annotated[
            bool, typer.Option("--publish", help="Send them to their topics, malformed ones too.")
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Make up the traffic of a company: print it as NDJSON, or publish it with its own times.

        Published records carry the simulated times of delivery; topics keep them if they were created with
        [bold]topics create --keep-timestamps[/bold].

        Example: [bold]leadstream simulate --events 5000 | leadstream replay -[/bold]
        """
        start_ms = START_MS if start is None else instant_ms(start, "--start")
        dirt = Dirt.none() if clean else None
        simulation = Simulation(seed, start_ms=start_ms, leads_per_day=leads_per_day, dirt=dirt)
        if not publish:
            printed = 0
            for delivery in simulation.events():
                if printed >= events:
                    break
                if delivery.raw is None:
                    print_line(delivery.event)
                    printed += 1
            return
        settings = settings_of(context)
        prepare_codec(settings)
        sent: Counter[str] = Counter()
        with Publisher(settings) as publisher, progress(as_json) as bar:
            task = bar.add_task("publishing", total=events)
            for delivery in simulation.events():
                if sent.total() >= events:
                    break
                topic = str(getattr(settings.topics, delivery.topic_key))
                value = encode_event(delivery.event) if delivery.raw is None else delivery.raw
                publisher.send(Message(topic, delivery.key.encode(), value), delivery.at_ms)
                sent[topic] += 1
                bar.advance(task)
        if as_json:
            print_json({"published": dict(sorted(sent.items()))})
        else:
            for topic, count in sorted(sent.items()):
                typer.echo(f"{count:>9,} {topic}")
