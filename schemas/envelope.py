"""The envelope that every event travels in, as the rest of the program sees it.

Whatever came over the wire (Confluent-framed Avro, plain JSON, CloudEvents), the codec hands on
this one record. Times are epoch milliseconds, UTC.
"""

from __future__ import annotations

from typing import Any

import msgspec

LEAD, ANONYMOUS, DEAL, ACCOUNT = "lead", "anonymous", "deal", "account"


class Envelope(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One decoded, well-formed event.

    ``type`` is the canonical name: that of the vocabulary, and ``deal_reopened`` for the one name
    that two families share. ``subject_id`` is ``""`` for events without a person (market,
    reference). ``known`` is False for a type outside the vocabulary: it is kept and counted.
    ``unknown_fields`` names payload fields that no schema has; they stay in ``payload``.
    """

    type: str
    occurred_at: int
    subject_kind: str = ""
    subject_id: str = ""
    source_system: str = ""
    source_event_id: str | None = None
    event_id: str | None = None
    source_seq: int | None = None
    observed_at: int | None = None
    actor_type: str | None = None
    actor_id: str | None = None
    causation_id: str | None = None
    backfill: bool = False
    payload: dict[str, Any] = {}
    known: bool = True
    unknown_fields: tuple[str, ...] = ()


class Malformed(Exception):  # noqa: N818 (it says what the input is, and is caught by that name everywhere)
    """Input that cannot be read. It goes to the dead-letter topic, whole, with this reason.

    ``code`` is one of a small fixed set (a metric label), ``detail`` is for people: what is
    wrong, in which field, and what to do.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
