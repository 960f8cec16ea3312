"""What the terminal shows: the funnel, the figures, the latest handoffs and the workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.demo.board import Board, Call
from streams.demo.scrape import Figures

#: From this width on figures stand beside the funnel.
_WIDE = 100
#: Where rows are few: facts that are shown in any case, handoffs that other facts give way to.
_FEWEST, _SOME, _MOST = 5, 4, 12
_LABELS = len("speed to lead")
_OUTCOME = {"accepted": "green", "rejected": "yellow", "expired": "red", "withdrawn": "dim"}


class Worker(NamedTuple):
    """A worker as the demo sees it. ``state``: starting, catching up, live, silent, or how it ended."""

    name: str
    url: str
    pid: int
    state: str
    partitions: int
    lag: int


class Frame(NamedTuple):
    """All that is shown at one moment."""

    now_ms: int
    speed: float
    #: Names in the order of the way, and those of the exits.
    stages: Sequence[str]
    exits: Sequence[str]
    figures: Figures
    events_per_s: float
    mqls_today: int
    board: Board
    workers: Sequence[Worker]
    where: str


def screen(frame: Frame, width: int, height: int) -> RenderableType:
    """A renderable of at most so many columns and rows."""
    funnel, facts = _funnel(frame, width), list(_facts(frame))
    fixed = 1 + len(frame.workers) + 1  # the head, the workers, the line below for the cursor
    upper: list[RenderableType]
    if width >= _WIDE:
        both = Table.grid(padding=(0, 3))
        both.add_row(funnel, _numbers(facts))
        upper, rows = [both], max(funnel.row_count, len(facts))
    else:
        facts = facts[: max(_FEWEST, height - fixed - funnel.row_count - 1 - _SOME)]
        upper, rows = [funnel, _numbers(facts)], funnel.row_count + len(facts)
    spare = height - fixed - rows - 1  # for handoffs, below their heading
    lower: list[RenderableType] = []
    if spare >= _SOME + 3:  # room to breathe
        upper, lower, spare = [Text(), *upper, Text()], [Text()], spare - 3
    parts = [_head(frame), *upper]
    if spare > 0:
        parts.append(_handoffs(frame, min(spare, _MOST), width))
    return Group(*parts, *lower, _workers(frame))


def line(frame: Frame) -> str:
    """The same in one line, for a log or a pipe."""
    balance = frame.figures.all("stage_balance")
    stages = ", ".join(f"{name} {balance.get((name,), 0):,.0f}" for name in frame.stages)
    facts = "; ".join(f"{name} {value}".strip() for name, value in _facts(frame))
    workers = ", ".join(_worker(each) for each in frame.workers)
    return f"{moment(frame.now_ms)} | {frame.events_per_s:.0f} events/s | {stages} | {facts} | {workers}"


def handoff_line(call: Call) -> str:
    """A new handoff in one line."""
    due = f", due {short(call.due_at)}" if call.due_at else ""
    return f"handoff {short(call.started_at)}: {call.lead} ({call.why}) to {call.owner}{due}"


def _head(frame: Frame) -> RenderableType:
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append("leadstream", "bold cyan")
    head.append(f"  {moment(frame.now_ms)}", "bold")
    head.append(f"  {frame.events_per_s:.0f} events/s  {frame.where}")
    head.append(f"  {frame.speed:g} x as fast as life; Ctrl-C ends", "dim")
    return head


def _funnel(frame: Frame, width: int) -> Table:
    balance, entered = frame.figures.all("stage_balance"), frame.figures.all("stage_entered")
    counts = [balance.get((name,), 0.0) for name in frame.stages]
    most = max([1.0, *counts])
    room = 20 if width >= _WIDE else max(10, min(40, width - 34))
    table = Table.grid(padding=(0, 1))
    for justify in ("left", "left", "right", "right"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(Text("stage", "dim"), "", Text("now", "dim"), Text("entered", "dim"))
    for name, count in zip(frame.stages, counts, strict=True):
        # The square root keeps a won deal visible beside thousands of visitors.
        length = round(room * (count / most) ** 0.5) if count else 0
        bar = Text("█" * max(length, 1 if count else 0), "green" if name == frame.stages[-1] else "cyan")
        bar.pad_right(room - len(bar))
        table.add_row(name, bar, Text(f"{count:,.0f}", "bold"), f"{entered.get((name,), 0):,.0f}")
    return table


def _numbers(facts: Iterable[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, style="dim", min_width=_LABELS)
    table.add_column(no_wrap=True, overflow="ellipsis")
    for name, value in facts:
        table.add_row(name, value)
    return table


def _facts(frame: Frame) -> Iterable[tuple[str, str]]:
    f = frame.figures
    yield "leads", f"{f.one('leads'):,.0f}; MQLs today {frame.mqls_today}"
    yield "handoffs", f"{f.one('handoffs', 'open'):,.0f} open, {frame.board.late} of them late"
    answers = ", ".join(
        f"{f.one('handoffs', outcome):,.0f} {outcome}" for outcome in ("accepted", "rejected", "expired")
    )
    yield "acceptance", f"{percent(f.ratio('handoffs', ('accepted',), ('rejected',)))} ({answers})"
    compliance = ", ".join(
        f"{clock.replace('_', ' ')} {percent(f.ratio('sla_clocks', (clock, 'met'), (clock, 'breached')))}"
        for clock in ("first_touch", "decision")
    )
    yield "SLA kept", compliance
    half = f.quantile("team_speed_to_lead_seconds", 0.5)
    yield "speed to lead", f"half within {span(half)}, {f.total('team_untouched_handoffs'):,.0f} not called"
    deals = ", ".join(f"{f.one('deals', status):,.0f} {status}" for status in ("open", "won", "lost"))
    yield "deals", deals
    amounts = {c: n for (c, status), n in f.all("deal_amount").items() if status == "won" and n}
    by_size = sorted(amounts.items(), key=lambda pair: -pair[1])
    yield "won", ", ".join(f"{n:,.0f} {currency}" for currency, n in by_size) or "nothing yet"
    odd = [f.total(f"{what}_total") for what in ("dead_letters", "misrouted_records")]
    yield "odd", f"{odd[0]:,.0f} dead letters, {odd[1]:,.0f} misrouted"
    left = f.all("stage_balance")
    exits = [f"{left[name,]:,.0f} {name}" for name in frame.exits if left.get((name,))]
    yield "ended", ", ".join(exits[:3]) or "none"
    if exits[3:]:
        yield "", ", ".join(exits[3:])


def _handoffs(frame: Frame, most: int, width: int) -> Table:
    gap = 2 if width >= _WIDE else 1
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, gap, 0, 0))
    for heading in ("handed over", "lead", "why", "to", "call due", "answer"):
        table.add_column(heading, no_wrap=True, overflow="ellipsis")
    for call in frame.board.latest(most):
        late = ", late" if call.late else ""
        style = _OUTCOME.get(call.outcome, "bold red" if late else "cyan")
        answer = Text(f"{call.outcome or 'open'}{late}", style)
        why = call.why if width >= _WIDE else call.why.partition(":")[0]
        due = short(call.due_at) if call.due_at else ""
        table.add_row(short(call.started_at), call.lead, why, call.owner, due, answer)
    return table


def _workers(frame: Frame) -> RenderableType:
    text = Text("\n", no_wrap=True, overflow="ellipsis").join(
        Text(_worker(each), "" if each.state == "live" else "bold red" if "ended" in each.state else "yellow")
        for each in frame.workers
    )
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _worker(worker: Worker) -> str:
    if "ended" in worker.state:
        return f"{worker.name} {worker.state}"
    load = f"{worker.partitions} partitions, {worker.lag:,} records behind"
    return f"{worker.name} {worker.state}: {load}, {worker.url}/metrics"


def moment(ms: int) -> str:
    """``Mon 2026-11-23 09:30``, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%a %Y-%m-%d %H:%M")


def short(ms: int) -> str:
    """``Mon 23 09:30``, UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%a %d %H:%M")


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f} %"


def span(seconds: float | None) -> str:
    """The largest unit: ``15 min``, ``4 h``, ``3 d``."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
