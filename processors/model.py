"""What a row is made of.

*Facts* are the ledger. *Derived* is `State`, all that the next transition needs; journeys, handoffs and deals
are replaced and never changed, so "did a decision or a figure move" is a comparison of identities. *Said* is
what was published: handoffs minted, sequence numbers, and, while something waits to be said, the state as last said.
"""

from __future__ import annotations

from base64 import b85decode
from functools import lru_cache
from typing import Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Struct
from zstandard import (
    FORMAT_ZSTD1_MAGICLESS,
    ZstdCompressionDict,
    ZstdCompressionParameters,
    ZstdCompressor,
    ZstdDecompressor,
    get_frame_parameters,
)

from processors.words import WORDS

NEVER = 1 << 62
#: Entries: t << 9 | BACKFILLED | IMPLIED | stage rank or exit.
IMPLIED, BACKFILLED, CODE = 0x80, 0x100, 0x7F
REJECTED, RECYCLED, DISQUALIFIED, LOST, EXPIRED, INACTIVE, MOVED, ERASED = range(100, 108)
EXITS = {
    REJECTED: "rejected", RECYCLED: "recycled", DISQUALIFIED: "disqualified", LOST: "lost",
    EXPIRED: "expired", INACTIVE: "inactive", MOVED: "moved", ERASED: "erased",
}  # fmt: skip
#: Marks: t << 16 | rule << 8 | stage; what was refused, or noted, and by which rule.
(
    UNQUALIFIED, BACKWARD, NO_OPEN_HANDOFF, UNKNOWN_HANDOFF, ALREADY_ANSWERED, FORMER_OWNER, UNKNOWN_STAGE,
    INACTIVE_OWNER, RECORDED_ONLY, ENDED, HELD_BACK, NURTURE_OFF, NURTURE_ON, GONE, NURTURE_ENDED, NOT_PAUSABLE,
    STILL_OPEN, PAUSED_ALREADY, NOT_PAUSED,
) = range(1, 20)  # fmt: skip
RULES = {
    UNQUALIFIED: "fell below the threshold", BACKWARD: "backward moves are refused",
    NO_OPEN_HANDOFF: "no handoff was open", UNKNOWN_HANDOFF: "no such handoff",
    ALREADY_ANSWERED: "the handoff has ended", FORMER_OWNER: "the former owner's hour has passed",
    UNKNOWN_STAGE: "no such stage in the definition", INACTIVE_OWNER: "the owner is not active",
    RECORDED_ONLY: "stages reported from outside are only recorded", ENDED: "the journey has ended",
    HELD_BACK: "no consent to be contacted",
    NURTURE_OFF: "no consent to marketing", NURTURE_ON: "consent to marketing",
    GONE: "the person was erased", NURTURE_ENDED: "erased",
    NOT_PAUSABLE: "the policy allows no pause", STILL_OPEN: "the journey has not ended",
    PAUSED_ALREADY: "the clocks stand still already", NOT_PAUSED: "the clocks are running",
}  # fmt: skip

OPEN, ACCEPTED, TURNED_DOWN, LAPSED, WITHDRAWN = range(5)
OUTCOMES = {
    OPEN: "",
    ACCEPTED: "accepted",
    TURNED_DOWN: "rejected",
    LAPSED: "expired",
    WITHDRAWN: "withdrawn",
}
#: Flags of a handoff.
(
    SILENT, LATE, RETURNED, HAND_RAISED, FADED, RECLASSIFIED, IMPLICIT, IMPORTED, ESCALATED, UNGROUNDED,
    SATURATED, FORGOTTEN,
) = (1 << n for n in range(12))  # fmt: skip
FLAGS = {
    SILENT: "silent", LATE: "late", RETURNED: "returned", HAND_RAISED: "hand-raise",
    FADED: "below the threshold since", RECLASSIFIED: "ground re-classified", IMPLICIT: "answered by implication",
    IMPORTED: "imported", ESCALATED: "escalated", UNGROUNDED: "ground gone since the answer",
    SATURATED: "score saturated", FORGOTTEN: "erased",
}  # fmt: skip

GENERATED = ("marketing", "sales", "partner", "referral", "win_back")
RUNNING, WON, LOST_DEAL, ON_HOLD, DELETED = range(5)  # of a deal
DEAL_STATUS = ("open", "won", "lost", "on_hold", "deleted")

#: Namespace of handoff ids; any constant does, this one was drawn once.
_HANDOFFS = UUID("6a1f2c58-57a5-4bb1-9d5e-0f6f4a0c7d11")


@lru_cache(1 << 14)  # it is asked for with every output
def handoff_id(subject: str, ordinal: int) -> str:
    """uuid5 of the subject at minting and the ordinal of minting (DOMAIN 5)."""
    return str(uuid5(_HANDOFFS, f"{subject}/{ordinal}"))


class Route(Struct, frozen=True, array_like=True, gc=False):
    """A choice of an owner: it is said, and never made again by replay."""

    at: int
    team: str
    owner: str
    why: str


class Call(Struct, frozen=True, array_like=True, gc=False):
    """What a lead was judged by when sales got it (see `priority`): ``stage`` is a code, the others as known then."""

    source: str
    segment: str
    grade: str
    stage: int
    raised: bool


class Handoff(Struct, frozen=True, array_like=True, gc=False):
    """One call on sales, decided. Instants in epoch ms, 0 for "not (yet)"; ``of`` is the subject at minting."""

    of: str
    ordinal: int
    attempt: int
    definition: int
    policy: int  # index of the SLA policy
    trigger: int
    start: int
    team: str
    owner: str
    routed: str
    assigned: int
    due_touch: int
    due_decide: int
    due_meet: int
    expires: int
    rule: str  # that contributed most to letting the lead through
    flags: int = 0
    touched: int = 0
    met: int = 0
    late_touch: int = 0  # the due instant, once it passed untouched
    late_decide: int = 0
    late_meet: int = 0
    outcome: int = OPEN
    ended: int = 0
    reason: str = ""
    notes: str = ""
    paused: int = 0
    formers: tuple[
        tuple[str, int, int], ...
    ] = ()  # (owner, when it was taken from them, until when they still count)
    news: int = 0  # how often its context has changed since the call
    returned: int = 0
    pauses: tuple[int, ...] = ()
    routes: tuple[Route, ...] = ()  # every choice of an owner, once there was more than one
    call: Call | None = None
    complete: int = 0  # per mille of what the definition asks a context to tell, at the trigger
    owned: int = 0  # since when somebody has it
    released: int = 0  # the flood guard had held it back until then
    missed: tuple[
        tuple[int, str, bool], ...
    ] = ()  # first touches that those who had it before have missed: (due, owner, escalated)

    @property
    def id(self) -> str:
        return handoff_id(self.of, self.ordinal)

    @property
    def begun(self) -> int:
        """When the clocks started that count."""
        return self.released or self.start


class Journey(Struct, frozen=True, array_like=True, gc=False):
    """One pass of a lead: entries of stages and exits in order; the last one is where it stands."""

    n: int
    entries: tuple[int, ...]
    generated: int = 0
    marks: tuple[int, ...] = ()
    handoffs: tuple[Handoff, ...] = ()
    reason: str = ""  # of the exit

    @property
    def at(self) -> int:
        """Code of the stage or exit where the journey stands."""
        return self.entries[-1] & CODE

    @property
    def exited(self) -> bool:
        return self.entries[-1] & CODE >= REJECTED


class Share(Struct, frozen=True, array_like=True, gc=False):
    """A lead's part in a deal: amounts in minor units of the deal's currency."""

    journey: int
    amount: int
    currency: str
    opened: int
    outcome: int = RUNNING
    closed: int = 0
    call: Call | None = None  # as the lead stood just before the opening
    parts: dict[
        str, int
    ] = {}  # of a deal of several leads, by lead: those who turned out to be one person add up


class Past(Struct, frozen=True, array_like=True, gc=False):
    """A person who was erased: what their journeys, up to number ``journeys``, are counted under. ``key`` is that of
    the fact that erased them."""

    key: tuple[int, int]
    journeys: int
    source: str | None
    segment: str
    created: int
    generated: int


class State(Struct, array_like=True, gc=False):
    """Everything derived, as of the last transition. Between transitions it is constant."""

    a: int = 0
    b: int = 0
    n: int = 0  # events folded
    known: int = 0  # by when all of them were recorded
    fired: int = 0
    due: int = NEVER
    definition: int = 0
    acc: dict[int, list[int]] = {}  # rule -> [day, points as of that day, raw points of that day]
    once: int = 0
    last: int = 0  # newest event
    attributes: dict[str, Any] = {}
    fit: int = 0
    segment: str = ""
    barred: int = 0  # bit 0 by attributes, bit 1 by a fact
    raised: int = 0
    consumed: int = 0
    qualified: bool = False
    low: bool = False
    answered: bool = False
    until: int = 0
    cross: int = 0
    created: int = 0
    source: str | None = None
    generated: int = 0
    owner: str = ""
    account: str = ""
    override: tuple[int, int] = (0, 0)
    consent: dict[str, tuple[bool, int]] = {}
    journeys: tuple[Journey, ...] = ()
    shares: dict[str, Share] = {}
    agents: dict[int, int] = {}  # identity of a re-classified event -> its agent
    latest: int = 0  # start of a clock, the latest so far
    hours: int = 0  # index of the definition whose holidays count
    saturated: bool = False  # points beyond what a score can hold: the definition is mistaken
    left: bool = False  # erased, and not come back
    past: tuple[Past, ...] = ()  # persons who were erased here, oldest first
    gone: tuple[int, int] = (0, 0)  # key of the last erasure
    anew: tuple[int, int] = (0, 0)  # scores begin after this key

    @property
    def lives(self) -> int:
        """Journeys of persons who were erased: the present one's come after them."""
        return self.past[-1].journeys if self.past else 0


class Minted(Struct, frozen=True, array_like=True, gc=False):
    """A handoff that was said: its id, the start of its clocks and the choice of its owners never change by replay."""

    of: str
    ordinal: int
    trigger: int
    end: int  # NEVER while open
    start: int
    routes: tuple[Route, ...]
    pinned: bool = False
    silent: bool = False
    historical: bool = False  # it had ended before it could be said, so it called nobody
    due: int = 0  # by when it is to be answered: of two that become one, the earlier stays
    released: int = 0  # it was held back until then, so that its clocks started then
    answered: bool = False  # at its end, by an acceptance or a rejection

    @property
    def id(self) -> str:
        return handoff_id(self.of, self.ordinal)


class Member(Struct, array_like=True, frozen=True):
    """What another row has sent: an alias's facts, or a deal's for this lead. Replaced whole by a higher version.

    One that ``asks`` carries no facts of this row, but merges for the loser to follow, or the ``edge`` of a refused one.
    """

    version: int
    alias: bool
    edge: tuple[int, int] = (0, 0)
    ledger: bytes = b""
    data: list[Any] = []
    members: dict[str, Member] = {}
    minted: tuple[Minted, ...] = ()
    epoch: int = 0
    level: int = 0  # of the merge: how many later ones of the same loser were refused
    known: int = 0  # recorded_at of what made it an alias
    spoken: bytes = b""  # an alias's journeys as last said
    asks: bool = False
    spoke: dict[
        str, int
    ] = {}  # how late the sender may have spoken for those who are no aliases of it any more


#: A merge that would have closed a circle: its key in the total order, the rows of loser and winner. Without a loser: what
#: would take back a merge that is not known.
Refusal = tuple[tuple[int, int], str, str]


class Erasure(Struct, array_like=True, frozen=True):
    """A request to forget what happened up to ``at`` (ms), recorded at ``heard``; ``done``: it is out of the row."""

    at: int
    heard: int
    done: bool = False


class Tally(Struct, array_like=True):
    """Engagement counted (`processors.tally`): by code, e-mails looked at and by whom, when the visit was last seen."""

    counts: dict[int | str, int] = {}
    mails: dict[int, int] = {}
    visited: int = -(1 << 40)


class Row(Struct, array_like=True):
    """One subject. The header comes first; the ledger is an opaque blob until somebody needs it."""

    head: State = msgspec.field(default_factory=State)
    ledger: bytes = b""
    data: list[Any] = []
    held: int = NEVER  # earliest event dated in the future
    sequences: dict[int, int] = {}  # output topic -> last sequence number
    minted: tuple[Minted, ...] = ()
    waiting: bool = False  # something decided is not yet said
    spoken: bytes = b""  # while waiting: journeys and shares as last said
    snapshots: list[tuple[int, int, bytes]] = []
    base: bytes = b""  # State below the horizon
    version: int = 0
    epoch: int = 0
    target: str = ""
    edge: tuple[int, int] = (0, 0)
    members: dict[str, Member] = {}
    sent: dict[str, int] = {}  # subjects that were told something -> version
    residue: dict[str, int] = {}  # what erased facts add to the figures, see `erasure`
    floor: int = 0  # the latest instant that is, or is to be, erased
    approximate: bool = False
    touches: list[tuple[int, str, str]] = []  # of a lead, below the horizon: what they earned stays theirs
    erasures: tuple[Erasure, ...] = ()
    terms: tuple[int, ...] = ()  # marks of the definitions that the places 1.. up to `State.hours` meant
    closed: str = ""  # the target under which the row's sequences were closed
    digests: dict[str, bytes] = {}  # of what was last sent, by subject
    crowded: bool = False  # a browser of more people than are linked
    refused: tuple[Refusal, ...] = ()
    refused_said: tuple[Refusal, ...] = ()
    again: bool = False  # somebody else spoke last of what is this row's to speak of
    tally: Tally = msgspec.field(default_factory=Tally)
    past: bytes = b""  # what was counted of facts that were dropped
    gone: bytes = b""  # and who they were
    flooded: tuple[tuple[int, str], ...] = ()  # (trigger, team) of handoffs that the flood guard holds back
    baseline: bytes = b""  # what it added to the figures when something was last said (`streams.restating`)
    spoke: dict[
        str, int
    ] = {}  # the greatest epoch in which anybody may have spoken for one who was an alias here
    counted: tuple[
        int, ...
    ] = ()  # marks of the definitions that its final numbers were said under, if not its partition's


#: Layouts of stored rows: msgpack as it is, and packed by a dictionary of what all rows have in common, where that is
#: worth it. A dictionary that rows were stored with stays: another one is another layout.
PLAIN, PACKED = b"\x01", b"\x03"
_WORTH_IT = 200
_DICTIONARY = ZstdCompressionDict(b85decode(WORDS))
_HOW = ZstdCompressionParameters.from_level(
    3, dict_size=len(_DICTIONARY), format=FORMAT_ZSTD1_MAGICLESS, write_dict_id=False
)
_DICTIONARY.precompute_compress(compression_params=_HOW)
_pack = ZstdCompressor(dict_data=_DICTIONARY, compression_params=_HOW).compress
_unpack = ZstdDecompressor(dict_data=_DICTIONARY, format=FORMAT_ZSTD1_MAGICLESS).decompress
encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(Row).decode
decode_state = msgspec.msgpack.Decoder(State).decode
decode_member = msgspec.msgpack.Decoder(Member).decode
_Spoken = tuple[tuple[Journey, ...], dict[str, Share], str | None]
decode_spoken = msgspec.msgpack.Decoder(_Spoken).decode


class RowVersionError(ValueError):
    """A row written by a newer program: this one must not touch it."""


def load(data: bytes | memoryview) -> Row:
    """A row from its stored bytes. :raises RowVersionError: where the layout is unknown."""
    return _decode_row(unpacked(data))


def unpacked(data: bytes | memoryview) -> bytes | memoryview:
    """The msgpack of a stored row. :raises RowVersionError: where the layout is unknown."""
    view = memoryview(data)
    if view[:1] == PACKED:
        return _unpack(view[1:])
    if view[:1] == PLAIN:
        return view[1:]
    raise RowVersionError(
        f"row layout {view[0]} is unknown to this version; upgrade this worker, or, where a development version wrote it, "
        "build the rows anew under another app_id"
    )


def weight(data: bytes) -> int:
    """Bytes of a stored row when it is unpacked: what it takes in memory."""
    if data[:1] == PACKED:
        return get_frame_parameters(data[1:], format=FORMAT_ZSTD1_MAGICLESS).content_size
    return len(data) - 1


def dump(row: Row) -> bytes:
    """A row's bytes to be stored. Packing costs 3 to 9 us, and saves more than half of memory, changelog and restore."""
    data = encode(row)
    return PLAIN + data if len(data) < _WORTH_IT else PACKED + _pack(data)
