"""Reading tables of a definition with types, limits and defaults, and noting every mistake with its line."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, TypeVar

from processors.calendar import MINUTE
from processors.definition.lines import Lines, Path
from processors.definition.model import DAY, HOUR, MILLI

_T = TypeVar("_T")

_NAME = re.compile(r"\w[\w .&/+-]{0,63}")
_DURATION = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,6})h)?(?:(\d{1,8})m)?(?:(\d{1,9})s)?", re.ASCII)
#: Points beyond this are a slip of the keyboard; scores saturate at a thousand times as much.
_MOST_POINTS = 1_000_000


class DefinitionError(Exception):
    """A definition that cannot be used. ``problems``: one line each, in the order of the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def quote(value: object) -> str:
    """A value of the document as people wrote it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    return str(value)


def listed(names: Iterable[object]) -> str:
    """``a, b, c``."""
    return ", ".join(str(name) for name in names)


def suggest(word: str, known: Collection[str], kind: str) -> str:
    """What to do about a word that nobody knows."""
    close = get_close_matches(word.casefold(), list(known), n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"use one of the {kind}: {listed(sorted(known))}"


class Problems:
    """What is wrong with one document so far."""

    def __init__(
        self, origin: str, lines: Lines, document: Mapping[str, Any], top_keys: Collection[str] = ()
    ) -> None:
        self.top_keys = top_keys
        self._origin = origin
        self._lines = lines
        self._document = document
        self._found: list[tuple[int, int, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(self, path: Path, what: str, todo: str) -> None:
        """Note a mistake at a path of the document."""
        line = self._lines.of(path)
        where = f" ({self._shown(path)})" if path else ""
        self._found.append((line, len(self._found), f"{self._origin}:{line}: {what}{where} — {todo}"))

    def line_of(self, path: Path) -> int:
        return self._lines.of(path)

    def listed(self) -> list[str]:
        """In the order of the file."""
        return [text for _, _, text in sorted(self._found)]

    def _shown(self, path: Path) -> str:
        """``fit[senior role].when.role``: elements of a list by their name, else counted from 1."""
        shown, node = "", self._document  # type: str, Any
        for part in path:
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                node = None
            if isinstance(part, int):
                label = None
                if isinstance(node, Mapping):
                    label = node.get("name") or node.get("code") or node.get("team")
                shown += f"[{label}]" if isinstance(label, str) else f"[{part + 1}]"
            else:
                plain = part.replace("_", "").replace("-", "").isalnum()
                shown += ("." if shown else "") + (part if plain else f'"{part}"')
        return shown


class Table:
    """One table. Each getter takes the value of a key, or the default; a default of None means mandatory."""

    def __init__(self, problems: Problems, path: Path, values: Mapping[str, Any]) -> None:
        self.problems = problems
        self.path = path
        self.values = values
        self._asked: dict[str, None] = {}

    def wrong(self, key: str, what: str, todo: str) -> None:
        """Note a mistake at a key of this table (or at the table, if the key is not there)."""
        self.problems.add((*self.path, key) if key else self.path, what, todo)

    def has(self, key: str) -> bool:
        return key in self.values

    def raw(self, key: str) -> Any:
        """The value as parsed; None if absent."""
        self._asked[key] = None
        return self.values.get(key)

    def text(self, key: str, default: str | None, *, choices: Collection[str] = (), example: str = "") -> str:
        value = self.raw(key)
        if value is None:
            return self._absent(key, default, "", f'"{example or "..."}"')
        if not isinstance(value, str):
            self.wrong(key, f"{key} must be text, not {quote(value)}", f'write {key} = "{example or "..."}"')
            return default or ""
        if choices and value not in choices:
            self.wrong(key, f"{key} cannot be {quote(value)}", suggest(value, choices, "choices"))
            return default or next(iter(choices))
        return value

    def name(self, key: str, default: str | None = None) -> str:
        """A name that may become a label or part of an id."""
        value = self.text(key, default)
        if value and not _NAME.fullmatch(value):
            self.wrong(
                key,
                f"{quote(value)} cannot be a name",
                "use up to 64 letters, digits, blanks and . _ - & / +, beginning with a letter or digit",
            )
        elif self.has(key) and value == "" and isinstance(self.values[key], str):
            self.wrong(key, f"{key} is empty", f'write {key} = "..."')
        return value

    def whole(self, key: str, default: int | None, low: int, high: int) -> int:
        value = self.raw(key)
        if value is None:
            return self._absent(key, default, low, str(low))
        if isinstance(value, bool) or not isinstance(value, int):
            self.wrong(key, f"{key} must be a whole number, not {quote(value)}", f"write {key} = {low}")
        elif not low <= value <= high:
            self.wrong(key, f"{key} is {value}, which is not between {low} and {high}", "choose one that is")
        else:
            return value
        return low if default is None else default

    def flag(self, key: str, default: bool) -> bool:
        value = self.raw(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.wrong(key, f"{key} must be true or false, not {quote(value)}", f"write {key} = true")
        return default

    def decimal(self, key: str, default: int | None, digits: int, example: str) -> int:
        """A plain number as an integer of its ``digits``-th decimal, read without binary float."""
        value = self.raw(key)
        if value is None:
            return self._absent(key, default, 0, example)
        fallback = default or 0
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            self.wrong(key, f"{key} must be a number, not {quote(value)}", f"write {key} = {example}")
            return fallback
        number = Decimal(value)
        if not number.is_finite() or abs(number) > _MOST_POINTS:
            self.wrong(
                key, f"{key} is {value}", f"use a number between -{_MOST_POINTS:,} and {_MOST_POINTS:,}"
            )
            return fallback
        scaled = number.scaleb(digits)
        if scaled != scaled.to_integral_value():
            plural = "decimal" if digits == 1 else "decimals"
            self.wrong(key, f"{key} is {value}, finer than is counted", f"use at most {digits} {plural}")
            return fallback
        return int(scaled)

    def points(
        self, key: str, default: int | None, *, low: int | None = None, high: int | None = None
    ) -> int:
        """Plain points as milli-points, at most three decimals. ``low``, ``high``: plain points."""
        value = self.decimal(key, default, 3, "7.5")
        if (low is not None and value < low * MILLI) or (high is not None and value > high * MILLI):
            limits = (
                f"between {low} and {high}" if low is not None and high is not None else f"at least {low}"
            )
            self.wrong(key, f"{key} is {self.values.get(key)}", f"use a number {limits}")
            return (low or 0) * MILLI if default is None else default
        return value

    def per_mille(self, key: str, default: int | None) -> int:
        """Percent, at most one decimal, as per mille."""
        value = self.decimal(key, default, 1, "7.5")
        if not 0 <= value <= 1000:
            self.wrong(key, f"{key} is {self.values.get(key)}", "use a percentage between 0 and 100")
            return default or 0
        return value

    def duration(self, key: str, default: int | None, *, day_ms: int = DAY, least: int = 0) -> int:
        """``"1h30m"`` in ms; ``"off"`` is 0. ``day_ms``: what "1d" means."""
        value = self.raw(key)
        if value is None:
            return self._absent(key, default, 0, '"4h"')
        match = _DURATION.fullmatch(value.replace(" ", "")) if isinstance(value, str) and value else None
        if value == "off":
            found = 0
        elif match is None:
            self.wrong(
                key,
                f"{key} must be a duration, not {quote(value)}",
                f'write numbers with units d, h, m or s, such as {key} = "4h" or "1d2h", or "off"',
            )
            return default or 0
        else:
            d, h, m, s = (int(part or 0) for part in match.groups())
            found = d * day_ms + h * HOUR + m * MINUTE + s * 1000
        if not least <= found <= 366 * DAY:
            self.wrong(
                key,
                f"{key} is {quote(value)}",
                f"use a duration of {'more than nothing' if least else 'nothing'} up to a year",
            )
            return default or least
        return found

    def texts(self, key: str, default: tuple[str, ...], *, choices: Collection[str] = ()) -> tuple[str, ...]:
        """A list of different names."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, list):
            self.wrong(key, f"{key} must be a list, not {quote(value)}", f'write {key} = ["...", "..."]')
            return default
        found: dict[str, None] = {}
        for n, item in enumerate(value):
            path = (*self.path, key, n)
            if not isinstance(item, str) or not item.strip():
                self.problems.add(path, f"{quote(item)} is no name", 'write names in quotes: ["...", "..."]')
            elif choices and item not in choices:
                self.problems.add(path, f"{quote(item)} is not known here", suggest(item, choices, "choices"))
            elif item in found:
                self.problems.add(path, f"{quote(item)} is listed twice", "remove one of them")
            else:
                found[item] = None
        return tuple(found)

    def day(self, value: Any, path: Path) -> int | None:
        """A date of the document as days since 1970-01-01; notes what is none."""
        if isinstance(value, str):
            with suppress(ValueError):
                value = date.fromisoformat(value)
        if isinstance(value, datetime) or not isinstance(value, date):
            self.problems.add(path, f"{quote(value)} is not a date", "write it as 2026-12-24")
            return None
        return value.toordinal() - 719_163

    def table(self, key: str) -> Table | None:
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.wrong(
                key, f"{key} must be a table, not {quote(value)}", f"write a section [{self._section(key)}]"
            )
            return None
        return Table(self.problems, (*self.path, key), value)

    def tables(self, key: str) -> list[Table] | None:
        """A list of tables; None if absent, empty if the document says so."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self.wrong(
                key,
                f"{key} must be a list of tables, not {quote(value)}",
                f"write sections [[{self._section(key)}]]",
            )
            return []
        return [Table(self.problems, (*self.path, key, n), item) for n, item in enumerate(value)]

    def close(self) -> None:
        """Keys that nobody asked for are mistakes."""
        for key in self.values:
            if key in self._asked:
                continue
            if self.path and key in self.problems.top_keys:
                todo = f"{key} belongs to the top of the document, before the first [section]"
            else:
                todo = suggest(key, self._asked, "keys here")
            self.wrong(key, f'there is no key "{key}" here', todo)

    def _section(self, key: str) -> str:
        return ".".join(part for part in (*self.path, key) if isinstance(part, str))

    def _absent(self, key: str, default: _T | None, fallback: _T, example: str) -> _T:
        if default is not None:
            return default
        self.wrong(key, f"{key} is missing", f"add {key} = {example}")
        return fallback
