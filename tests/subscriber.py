"""A subscriber to leadstream's outputs: how to miss nothing and to hear nothing twice.

An example to copy. Every output carries two numbers and an id:

* ``sequence`` counts what was said per (topic, key), from 1 and without gaps. The one that comes next proves that
  nothing was missed; one that came before is a repetition (of a rebuild, or of one's own restart) and is dropped.
* ``output_id`` names what was decided. The same id again is a revision: the last one holds, and ``op`` = withdrawn
  takes it back.

Read with ``isolation.level=read_committed``, and store ``state`` together with what you make of the outputs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from schemas.codec import decode_output
from streams.work import SourceRecord

Output = dict[str, Any]


class GapError(Exception):
    """Something was said that did not arrive here."""


class Subscriber:
    """What one subscriber holds: the last sequence of each (topic, key), the last revision of each output."""

    def __init__(self) -> None:
        self.sequences: dict[tuple[str, bytes], int] = {}
        self.state: dict[tuple[str, str], Output] = {}
        self.repeated = 0

    def take(self, record: SourceRecord) -> Output | None:
        """The output if it is new, None if it was heard before. :raises GapError: one before it is missing."""
        name, output = decode_output(record.value or b"")
        stream = (record.topic, record.key or b"")
        expected = self.sequences.get(stream, 0) + 1
        if output["sequence"] < expected:
            self.repeated += 1
            return None
        if output["sequence"] > expected:
            raise GapError(f"{stream}: {expected} was expected, {output['sequence']} came")
        self.sequences[stream] = expected
        known = self.state.get((name, output["output_id"]))
        if known is None or known["revision"] < output["revision"]:
            self.state[name, output["output_id"]] = output
        return output

    def take_all(self, records: Iterable[SourceRecord]) -> list[Output]:
        return [output for record in records if (output := self.take(record)) is not None]

    def holding(self, name: str, key: str) -> dict[str, Output]:
        """The outputs of a record type about one lead that still hold, by their id."""
        found = {id_: output for (of, id_), output in self.state.items() if of == name}
        return {id_: o for id_, o in found.items() if o["op"] != "withdrawn" and o.get("lead_id") == key}
