"""Any record of leadstream's topics as a dictionary for people and programs."""

from __future__ import annotations

from typing import Any

from schemas import codec
from schemas.envelope import Malformed
from streams.cli.console import instant
from streams.dead_letters import PREFIX
from streams.kafka_tools import Reader
from streams.settings import ALL_OUTPUTS, SIDE_INPUTS, SOURCES, Settings
from streams.work import Record


def topic_name(settings: Settings, reader: Reader, given: str) -> str:
    """A topic by its full name, its name without the prefix, or its key (``handoffs``).

    :raises KafkaToolError: there is no such topic.
    """
    field = settings.topics.field_of(given)
    name = getattr(settings.topics, field) if field else settings.changelog if given == "changelog" else given
    reader.partitions(name)
    return str(name)


def decoded(settings: Settings, record: Record) -> dict[str, Any]:
    """Where the record lies, and what it says; what cannot be decoded is shown as it is, with the reason."""
    shown: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": instant(record.timestamp),
        "key": text_of(record.key),
    }
    field = settings.topics.field_of(record.topic)
    if record.topic == settings.changelog:
        # The bytes of a row are the topology's own; `leadstream show` explains them.
        return shown | {"bytes": None if record.value is None else len(record.value)}
    if field == "dead_letters":
        return shown | dead_letter(record)
    if field in (*SOURCES, *SIDE_INPUTS) and field != "inbox":
        return shown | event(record)
    if field in ALL_OUTPUTS or field == "inbox":
        return shown | output(record)
    guessed = output(record)
    return shown | (guessed if "undecoded" not in guessed else event(record))


def event(record: Record) -> dict[str, Any]:
    """A record of an input topic, as the worker reads it."""
    try:
        envelope = codec.decode(record.value, record.headers, key=record.key)
    except Malformed as error:
        return {"malformed": error.code, "detail": error.detail, "value": text_of(record.value)}
    shown = codec.to_wire(envelope)
    if not envelope.known:
        shown["known"] = False
    if envelope.unknown_fields:
        shown["unknown_fields"] = list(envelope.unknown_fields)
    return shown


def output(record: Record) -> dict[str, Any]:
    """A record of an output topic: the record's name and its fields."""
    if record.value is None:
        return {"record": None}
    try:
        name, fields = codec.decode_output(record.value)
    except Malformed as error:
        return {"undecoded": error.detail, "value": text_of(record.value), "headers": headers_of(record)}
    return {"record": name, **fields}


def dead_letter(record: Record) -> dict[str, Any]:
    """Why it is one, where the original lies, and its bytes and headers (as text where they are text)."""
    said = {name.removeprefix(PREFIX): value for name, value in record.headers if name.startswith(PREFIX)}
    words = {name: value.decode(errors="replace") for name, value in said.items()}
    if (at := words.get("timestamp", "")).isdigit():
        words["timestamp"] = instant(int(at))
    return {
        "code": words.pop("code", ""),
        "detail": words.pop("detail", ""),
        "original": f"{words.pop('topic', '?')}-{words.pop('partition', '?')}@{words.pop('offset', '?')}",
        **words,
        "headers": {n: text_of(v) for n, v in record.headers if not n.startswith(PREFIX)},
        "value": text_of(record.value),
    }


def headers_of(record: Record) -> dict[str, Any]:
    return {name: text_of(value) for name, value in record.headers}


def text_of(value: bytes | None) -> str | dict[str, str] | None:
    """Bytes as text, or as hex under that name where they are no text."""
    if value is None:
        return None
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return {"hex": value.hex()}
    return text if text.isprintable() or "\n" in text else {"hex": value.hex()}
