"""What a visitor of the demo can do from another terminal: in commands that work as they are printed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from streams.demo.view import Worker
from streams.kafka_jars import console_tool
from streams.settings import CONFIG_ENV, Settings


def console_script(folder: Path, tool: str, name: str) -> Path:
    """A script that starts one of Kafka's own console tools: its command line alone would fill the screen."""
    path = folder / name
    path.write_text(f'#!/bin/sh\nexec {shlex.join(console_tool(tool))} "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def guide(settings: Settings, workers: Sequence[Worker], config: Path, scripts: Path) -> str:
    """The text that the demo prints when everything runs.

    :param config: the settings file of the demo.
    :param scripts: the folder with the scripts of `console_script`.
    """
    broker, topics = settings.bootstrap, settings.topics
    pages = "\n".join(f"  {each.name}   {each.url}/metrics   /livez   /readyz" for each in workers)
    example = (
        '{"type": "form_submitted", "occurred_at": "\'$(date -u +%FT%TZ)\'", "source_system": "web", '
        '"subject": {"lead_id": "lead-2"}, "payload": {"form_id": "contact", "intent": "hand_raise"}}'
    )
    return f"""\
BOOTSTRAP={broker}
{pages}
  logs       {scripts}/*.log

From another terminal in this folder (elsewhere: export {CONFIG_ENV}={config}):
  leadstream tail handoffs           what sales receives, decoded
  leadstream handoffs list --open    what waits for an answer
  leadstream figures                 all figures, exact
  leadstream show LEAD; leadstream explain LEAD
  leadstream publish FILE            your own events, one JSON object a line (README: your first event)

Any other Kafka client, e.g. with key and value as  lead-2|{{...}} :
  echo 'lead-2|{example}' |
    kcat -b {broker} -P -t {topics.engagement} -K '|' -X topic.partitioner=murmur2_random
  ... or {scripts}/console-producer --bootstrap-server {broker} --topic {topics.engagement} \\
           --reader-property parse.key=true --reader-property 'key.separator=|'
  {scripts}/console-consumer --bootstrap-server {broker} --topic {topics.stage_changes} --from-beginning
"""
