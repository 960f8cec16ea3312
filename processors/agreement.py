"""Who agreed to a published definition, from when it therefore holds, and where every version stands.

A publication is a proposal. It takes effect once each team that it names has approved, at the latest of its own
``effective_at``, its publication and the last approval; an unsigned one needs nobody. Of two publications of one
version, and of two approvals of one team, the one recorded first stands: a version says one thing for ever, and the
instant from which it holds never moves once it is agreed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from processors.definition.model import Definition, Signature


class Approval(Struct, frozen=True, kw_only=True):
    """A team agreed at an instant (epoch ms). ``digest`` "": to whatever text has that version."""

    name: str
    version: int
    signature: Signature
    digest: str = ""


class Standing(Struct, frozen=True, kw_only=True):
    """Where a version stands: proposed, agreed, in force, superseded, or overtaken before it came into force."""

    definition: Definition
    state: str
    missing: tuple[str, ...] = ()  # teams whose approval it waits for


def digest(text: str) -> str:
    """What an approval says it has read."""
    return sha256(text.encode()).hexdigest()


def agreed(proposed: Definition, approvals: Iterable[Approval]) -> tuple[Definition, tuple[str, ...]]:
    """The definition with its signatures and the instant from which it holds, and the teams still to approve."""
    text = digest(proposed.text)
    found = [*proposed.signatures]
    found += [a.signature for a in approvals if a.digest in ("", text)]
    first: dict[str, Signature] = {}
    for signature in sorted(found, key=lambda s: (s.at, s.by)):
        if signature.team in proposed.approvals:
            first.setdefault(signature.team, signature)
    signatures = tuple(first[team] for team in proposed.approvals if team in first)
    missing = () if proposed.unsigned else tuple(team for team in proposed.approvals if team not in first)
    since = max([proposed.effective_at, *(s.at for s in signatures)])
    if missing or proposed.unsigned:
        since = proposed.effective_at
    return replace(proposed, signatures=signatures, effective_at=since), missing


def standings(
    known: Iterable[tuple[Definition, tuple[str, ...]]], timeline: Sequence[Definition], now: int
) -> tuple[Standing, ...]:
    """Every version, the newest publication last. "in force" is what judges events of that instant.

    :param known: versions with the teams that have not approved yet.
    :param timeline: those that come into force, in that order.
    """
    holds = max((n for n, d in enumerate(timeline) if d.effective_at <= now), default=0)
    out = []
    for d, missing in sorted(known, key=lambda x: (x[0].published_at, x[0].name, x[0].version)):
        n = next((n for n, each in enumerate(timeline) if each is d), None)
        if missing:
            state = "proposed"
        elif n is None:
            state = "overtaken"
        elif n == holds:
            state = "in force"
        else:
            state = "superseded" if n < holds else "agreed"
        out.append(Standing(definition=d, state=state, missing=missing))
    return tuple(out)
