"""Line numbers of keys in TOML documents."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from processors.definition import load as package
from processors.definition.lines import Lines

DEFAULT = Path(package.__file__).with_name("default.toml").read_text("utf-8")

DOCUMENT = '''# a comment with [brackets] and "quotes"
plain = 1
dotted."quoted.key".deep = """
text with [x] and = and # signs
"" two quotes """ # comment
literal = \'\'\'
a " b
\'\'\'

[table]
inline = { one = [1, 2,
  3], two = 'x # no comment', "a b" = { c = 2026-01-01T00:00:00Z } }

[[rules]]
name = "first"
[rules.when]
role = "x"

  [[ rules ]]   # indented and spaced
name = "second"
when = { any = [
    { role = { is = ["a",
        "b"] } },
    { size = { min = 3 } },
] }
[[rules.parts]]
q = 1
[[rules.parts]]
q = 2
[table.sub]
k = "escaped \\" quote ] }" # hi
last = [ ]'''


def paths(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from paths(value, (*path, key))
    elif isinstance(node, list):
        for n, value in enumerate(node):
            yield from paths(value, (*path, n))


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("plain",), 2),
        (("dotted", "quoted.key", "deep"), 3),
        (("literal",), 6),
        (("table",), 10),
        (("table", "inline", "one", 2), 12),
        (("table", "inline", "a b", "c"), 12),
        (("rules", 0), 14),
        (("rules", 0, "when", "role"), 17),
        (("rules", 1), 19),
        (("rules", 1, "name"), 20),
        (("rules", 1, "when", "any", 0, "role", "is", 1), 23),
        (("rules", 1, "when", "any", 1, "size", "min"), 24),
        (("rules", 1, "parts", 1, "q"), 29),
        (("table", "sub", "k"), 31),
        (("table", "sub", "last"), 32),
    ],
)
def test_each_key_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert Lines(DOCUMENT).of(path) == line


@pytest.mark.parametrize("text", [DOCUMENT, DEFAULT, DOCUMENT.replace("\n", "\r\n"), "", "# only a comment"])
def test_every_path_of_the_parsed_document_was_seen(text: str) -> None:
    lines = Lines(text)
    assert [p for p in paths(tomllib.loads(text)) if not lines.has(p)] == []


def test_carriage_returns_do_not_shift_lines() -> None:
    assert Lines(DOCUMENT.replace("\n", "\r\n")).of(("table", "sub", "last")) == 32


def test_what_is_not_there_has_the_line_of_what_is_around_it() -> None:
    lines = Lines(DOCUMENT)
    assert lines.of(("rules", 1, "points")) == 19
    assert lines.of(("nothing",)) == 1
