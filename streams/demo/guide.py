"""What a visitor of the demo can do from another terminal: in commands that work as they are printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streams.demo.view import Worker
from streams.kafka_jars import console_tool
from streams.settings import CONFIG_ENV, Settings

_PRODUCER, _CONSUMER, _EVENTS = "console-producer", "console-consumer", "lead-2.ndjson"


def write_files(folder: Path, settings: Settings, now_ms: int) -> list[Path]:
    """Scripts for Kafka's own console tools, whose command lines would fill the screen, and events of a lead.

    :param now_ms: when the lead does what the events say: wall time, as a visitor's own clock would say.
    """
    reader = ("--reader-property", "parse.key=true", "--reader-property", "key.separator=|")
    shown = ("--formatter-property", "print.key=true", "--formatter-property", "print.value=false")
    for name, tool, options in (
        (_PRODUCER, "ConsoleProducer", reader),
        (_CONSUMER, "ConsoleConsumer", shown),
    ):
        command = [*console_tool(tool), "--bootstrap-server", settings.bootstrap, *options]
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n', encoding="utf-8")
        (folder / name).chmod(0o755)
    events = "".join(json.dumps(event) + "\n" for event in _a_lead("lead-2", now_ms))
    (folder / _EVENTS).write_text(events, encoding="utf-8")
    return [folder / name for name in (_PRODUCER, _CONSUMER, _EVENTS)]


def _a_lead(lead: str, now_ms: int) -> list[dict[str, Any]]:
    """The shortest way to sales: somebody whom the product suits asks to be called."""
    fields = {
        "role": "VP Sales", "company": "company-2", "company_size": 250, "industry": "software", "country": "DE"
    }  # fmt: skip
    history: tuple[tuple[str, dict[str, Any]], ...] = (
        ("created", {"source": "website", "generated_by": "marketing"}),
        ("attributes_changed", {"fields": fields}),
        ("page_viewed", {"url": "https://example.com/pricing"}),
        ("form_submitted", {"form_id": "contact", "intent": "hand_raise"}),
    )
    return [
        {
            "type": type_,
            "occurred_at": now_ms - 60_000 * (len(history) - number),
            "source_system": "website",
            "source_event_id": f"{lead}-{number}",
            "subject": {"lead_id": lead},
            "payload": payload,
        }
        for number, (type_, payload) in enumerate(history)
    ]


def guide(settings: Settings, workers: Sequence[Worker], config: Path, logs: Path) -> str:
    """The text that the demo prints when everything runs.

    :param config: the settings file of the demo; the files of `write_files` lie beside it.
    """
    broker, topics = settings.bootstrap, settings.topics
    folder = config.parent.name
    pages = "\n".join(f"  {each.url}/metrics  {each.url}/livez  {each.url}/readyz" for each in workers)
    return f"""
BOOTSTRAP={broker}
{pages}
  logs: {logs}/worker-*.log

In another terminal, in this folder (elsewhere first: export {CONFIG_ENV}={config})
  leadstream publish {folder}/{_EVENTS}   a lead asks to be called: see it arrive
  leadstream show lead-2                   and explain lead-2
  leadstream queue                         who to call next, and why
  leadstream figures                       all of them, exact
  leadstream tail handoffs                 what sales receives, decoded
Any Kafka client: plain JSON, key = id of the lead, murmur2
  kcat -b {broker} -P -t {topics.engagement} -k lead-2 -X topic.partitioner=murmur2_random -l FILE
  {folder}/{_PRODUCER} --topic {topics.engagement}       lines such as  lead-2|{{"type": ...}}
  {folder}/{_CONSUMER} --topic {topics.stage_changes}    keys of the leads that move
"""
