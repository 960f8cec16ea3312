"""Conditions over named values, compiled from the tables of a definition.

``{ role = "cfo", company_size = { min = 200 } }``: each field names a test, several are joined by
*and*; ``any = [{...}, {...}]`` is *or*. A test is a value (equal; letter case and outer blanks do not
matter), a list (any of them), or a table of the operators below. Where an event or a lead carries a
list of values, one that fits is enough. A value that is missing fulfils no test but ``not`` and
``known = false``. What a value's type cannot answer is answered by no, never by an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fnmatch import translate
from typing import Any

from processors.definition.model import Predicate

#: A test of one value.
Test = Callable[[Any], bool]

OPERATORS = (
    "is",
    "in",
    "not",
    "min",
    "max",
    "contains",
    "word",
    "starts_with",
    "ends_with",
    "matches",
    "known",
)

_NUMBER = re.compile(r"\s*([+-]?\d{1,30}(?:\.\d{1,30})?)\s*", re.ASCII)
_RANGE = re.compile(r"\s*(\d{1,30})\s*(?:-|\u2013|to)\s*(\d{1,30})\s*", re.ASCII)
_AT_LEAST = re.compile(r"\s*(\d{1,30})\s*\+\s*", re.ASCII)
_YES, _NO = frozenset(("true", "yes", "y", "1")), frozenset(("false", "no", "n", "0"))
_MISSING = object()

Number = int | float | Decimal


def bounds(value: Any) -> tuple[Number, Number | None] | None:
    """The smallest and largest number a value stands for; None for what is no number.

    Company sizes come as brackets: ``"51-200"`` is (51, 200), ``"1000+"`` is (1000, None).
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value, value
    if isinstance(value, float):
        return None if value != value else (value, value)
    if isinstance(value, Decimal):
        return None if value.is_nan() else (value, value)
    if not isinstance(value, str):
        return None
    if match := _NUMBER.fullmatch(value):
        number = Decimal(match[1])
        return number, number
    if match := _RANGE.fullmatch(value):
        return int(match[1]), int(match[2])
    if match := _AT_LEAST.fullmatch(value):
        return int(match[1]), None
    return None


def fold_text(value: str) -> str:
    """Text as it is compared."""
    return value.strip().casefold()


def is_known(value: Any) -> bool:
    """Is there a value at all? Blank text and empty lists say nothing."""
    if value is None or value is _MISSING:
        return False
    if isinstance(value, str):
        return bool(value.strip())
    return not (isinstance(value, (list, tuple, set, frozenset, Mapping)) and not value)


def _over_lists(test: Test) -> Test:
    """One element that fits is enough."""

    def each(value: Any) -> bool:
        if type(value) is not str and isinstance(value, (list, tuple, set, frozenset)):
            return any(test(element) for element in value)
        return test(value)

    return each


def _equal_text(wanted: frozenset[str]) -> Test:
    numbers = [b[0] for b in map(bounds, wanted) if b is not None and b[0] == b[1]]

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return value.strip().casefold() in wanted
        found = bounds(value) if numbers else None
        return found is not None and any(number == found[0] == found[1] for number in numbers)

    return test


def _equal_flag(wanted: bool) -> Test:
    words = _YES if wanted else _NO

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return fold_text(value) in words
        return value is wanted

    return test


def _equal_number(wanted: Number) -> Test:
    def test(value: Any) -> bool:
        found = bounds(value)
        return found is not None and found[0] == wanted == found[1]

    return test


def equal(wanted: Any) -> Test:
    """``is``: for text, flags and numbers."""
    if isinstance(wanted, bool):
        return _over_lists(_equal_flag(wanted))
    if isinstance(wanted, str):
        return _over_lists(_equal_text(frozenset((fold_text(wanted),))))
    return _over_lists(_equal_number(wanted))


def any_of(wanted: list[Any]) -> Test:
    """``in``: equal to one of them."""
    texts = frozenset(fold_text(w) for w in wanted if isinstance(w, str))
    tests = [equal(w) for w in wanted if not isinstance(w, str)]
    if texts:
        tests.insert(0, _over_lists(_equal_text(texts)))
    if len(tests) == 1:
        return tests[0]
    return lambda value: any(test(value) for test in tests)


def at_least(wanted: Number) -> Test:
    """``min``; a bracket such as "51-200" must lie above as a whole."""

    def test(value: Any) -> bool:
        found = bounds(value)
        return found is not None and found[0] >= wanted

    return _over_lists(test)


def at_most(wanted: Number) -> Test:
    """``max``; a bracket must lie below as a whole."""

    def test(value: Any) -> bool:
        found = bounds(value)
        return found is not None and found[1] is not None and found[1] <= wanted

    return _over_lists(test)


def _text_test(inner: Callable[[str], bool]) -> Test:
    def test(value: Any) -> bool:
        return isinstance(value, str) and inner(value.strip().casefold())

    return _over_lists(test)


def contains(wanted: tuple[str, ...]) -> Test:
    if len(wanted) == 1:
        only = wanted[0]
        return _text_test(lambda text: only in text)
    return _text_test(lambda text: any(part in text for part in wanted))


def has_word(wanted: tuple[str, ...]) -> Test:
    """Whole words: "cto" is in "CTO, Europe" but not in "director"."""
    found = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, wanted)) + r")(?!\w)").search
    return _text_test(lambda text: found(text) is not None)


def starts_with(wanted: tuple[str, ...]) -> Test:
    return _text_test(lambda text: text.startswith(wanted))


def ends_with(wanted: tuple[str, ...]) -> Test:
    return _text_test(lambda text: text.endswith(wanted))


def matches(wanted: tuple[str, ...]) -> Test:
    """Globs over the whole text: ``*`` any characters, ``?`` one, ``[ab]`` one of them."""
    tests = [re.compile(translate(pattern)).match for pattern in wanted]
    return _text_test(lambda text: any(test(text) is not None for test in tests))


def negate(test: Test) -> Test:
    return lambda value: not test(value)


def known(wanted: bool) -> Test:
    return is_known if wanted else negate(is_known)


def every(tests: list[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda value: all(test(value) for test in tests)


def _inner(values: Any, parts: tuple[str, ...]) -> Any:
    for n, part in enumerate(parts):
        if not isinstance(values, Mapping):
            return None
        rest = ".".join(parts[n:])
        if rest in values:
            return values[rest]
        values = values.get(part)
    return values


def field(name: str, test: Test) -> Predicate:
    """The test of one field; ``a.b`` looks for a field of that name, then for b in the record a."""
    if "." not in name:
        return lambda values: test(values.get(name))
    parts = tuple(name.split("."))
    return lambda values: test(_inner(values, parts))


def all_hold(parts: list[Predicate]) -> Predicate:
    if len(parts) == 1:
        return parts[0]

    def test(values: Mapping[str, Any]) -> bool:
        for part in parts:  # noqa: SIM110 (a generator takes twice as long)
            if not part(values):
                return False
        return True

    return test


def any_holds(parts: list[Predicate]) -> Predicate:
    if len(parts) == 1:
        return parts[0]

    def test(values: Mapping[str, Any]) -> bool:
        for part in parts:  # noqa: SIM110
            if part(values):
                return True
        return False

    return test
