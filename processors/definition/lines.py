"""On which line of a TOML document each key stands; the parser of the standard library does not say.

The scan runs after `tomllib` has accepted the document, so it may trust the grammar and only has to
know where strings, brackets and comments end.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

#: Keys and indexes from the root, as one walks the parsed document.
Path = tuple[str | int, ...]

_BLANK = re.compile(r"(?:[ \t]|\r?\n|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_SIMPLE_KEY = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_KEY = re.compile(rf"{_SIMPLE_KEY}(?:[ \t]*\.[ \t]*{_SIMPLE_KEY})*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\r\n]*")


class Lines:
    """Line numbers (from 1) by path. A path that is not there gets the line of its nearest parent."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at: dict[Path, int] = {}
        self._elements: dict[Path, int] = {}  # of arrays of tables
        self._counted = (0, 1)
        self._scan()

    def of(self, path: Path) -> int:
        """The line on which the key, or else the nearest table around it, was written."""
        while path and path not in self._at:
            path = path[:-1]
        return self._at.get(path, 1)

    def has(self, path: Path) -> bool:
        """Was this very key seen?"""
        return path in self._at

    def _line(self, position: int) -> int:
        seen, line = self._counted
        if position < seen:
            seen, line = 0, 1
        line += self._text.count("\n", seen, position)
        self._counted = position, line
        return line

    def _skip(self, pattern: re.Pattern[str], position: int) -> int:
        match = pattern.match(self._text, position)
        return match.end() if match else position

    def _scan(self) -> None:
        text, position, table = self._text, 0, Path()
        while (position := self._skip(_BLANK, position)) < len(text):
            start = position
            if text[position] == "[":
                brackets = 2 if text.startswith("[[", position) else 1
                keys, position = self._key(self._skip(_SPACE, position + brackets))
                position = self._skip(_SPACE, position) + brackets
                table = self._header(keys, brackets == 2, self._line(start))
            else:
                position = self._pair(position, table)

    def _header(self, keys: list[str], is_array: bool, line: int) -> Path:
        path = Path()
        for n, key in enumerate(keys, 1):
            path += (key,)
            if is_array and n == len(keys):
                self._elements[path] = self._elements.get(path, -1) + 1
                self._at.setdefault(path, line)
                path += (self._elements[path],)
            elif path in self._elements:
                path += (self._elements[path],)
            if n == len(keys):
                self._at[path] = line
            else:
                self._at.setdefault(path, line)
        return path

    def _key(self, position: int) -> tuple[list[str], int]:
        match = _KEY.match(self._text, position)
        if match is None:  # only if tomllib and this scan disagree about the grammar
            raise ValueError(f"no key at offset {position}")
        keys: list[str] = []
        node: Any = tomllib.loads(match.group() + "=0")
        while isinstance(node, Mapping):
            key, node = next(iter(node.items()))
            keys.append(key)
        return keys, match.end()

    def _pair(self, position: int, table: Path) -> int:
        line = self._line(position)
        keys, position = self._key(position)
        path = table
        for key in keys:
            path += (key,)
            self._at.setdefault(path, line)
        position = self._skip(_SPACE, position) + 1  # "="
        return self._value(self._skip(_SPACE, position), path)

    def _value(self, position: int, path: Path) -> int:
        text = self._text
        self._at.setdefault(path, self._line(position))
        opening = text[position]
        if opening in "\"'":
            return self._skip(_STRING, position)
        if opening not in "[{":
            return self._skip(_SCALAR, position)
        closing, index = {"[": "]", "{": "}"}[opening], 0
        position = self._skip(_BLANK, position + 1)
        while text[position] != closing:
            is_list = opening == "["
            position = self._value(position, (*path, index)) if is_list else self._pair(position, path)
            index += 1
            position = self._skip(_BLANK, position)
            if text[position] == ",":
                position = self._skip(_BLANK, position + 1)
        return position + 1
