"""What travels through Faust in place of single records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import faust
from faust.types import TP

from streams.work import SourceRecord


class Batch(NamedTuple):
    """Value of a Faust message: the records that one poll found in a partition.

    The chain of a partition is unbroken when each batch starts where the one before ended. The end
    is the consumer's position after the batch, and the offset of the Faust message is one less: so
    control records and holes left by compaction count as read.
    """

    start: int
    records: Sequence[SourceRecord]
    #: No other topic has more for this partition number in the same poll.
    last: bool = True


class Poll(NamedTuple):
    """What one fetch took out of aiokafka, with the positions around it."""

    records: dict[TP, list[Any]]
    before: dict[TP, int]
    after: dict[TP, int]

    def __bool__(self) -> bool:
        return self.before != self.after


class BatchSchema(faust.Schema):
    """Hands the batch on as it is; decoding is the topology's business."""

    def loads_key(self, _app: Any, _message: Any, **_: Any) -> None:
        return None

    def loads_value(self, _app: Any, message: Any, **_: Any) -> Any:
        return message.value
