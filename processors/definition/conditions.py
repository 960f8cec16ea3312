"""``when`` tables of a definition: checked, compiled to a predicate, and put into words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from decimal import Decimal
from typing import Any

from processors.definition import predicates as p
from processors.definition.lines import Path
from processors.definition.model import Condition, Predicate
from processors.definition.reader import Problems, Table, quote, suggest

#: Fields whose value is a record: ``utm.source`` looks into them.
RECORDS = frozenset(("utm", "fields", "first_utm", "last_utm"))

#: Operator: what makes the test, its words for one text and for several.
_TEXT_TESTS: dict[str, tuple[Callable[[tuple[str, ...]], p.Test], str, str]] = {
    "contains": (p.contains, "contains", "contains one of"),
    "word": (p.has_word, "has the word", "has one of the words"),
    "starts_with": (p.starts_with, "starts with", "starts with one of"),
    "ends_with": (p.ends_with, "ends with", "ends with one of"),
    "matches": (p.matches, "looks like", "looks like one of"),
}


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _either(values: Collection[Any]) -> str:
    words = ", ".join(_said(value) for value in values)
    return words if len(values) == 1 else "one of " + words


def _negated(said: str) -> str:
    return f"is not {said[3:]}" if said.startswith("is ") and " and " not in said else f"not ({said})"


class _Compiler:
    def __init__(self, problems: Problems, fields: Collection[str] | None, subject: str) -> None:
        self._problems = problems
        self._fields = fields
        self._subject = subject
        self.used: dict[str, None] = {}

    def table(
        self, values: Mapping[str, Any], path: Path, prefix: str = ""
    ) -> tuple[list[Predicate], list[str]]:
        """Predicates and words of each field; all of them must hold."""
        tests: list[Predicate] = []
        words: list[str] = []
        if not values:
            self._problems.add(
                path, "the condition is empty", 'name a field: { role = "cfo" }, or leave it out'
            )
        for key, value in values.items():
            here = (*path, key)
            if key in ("any", "all") and not prefix and isinstance(value, list):
                self._group(key, value, here, tests, words)
            elif self._is_record(prefix + key, value):
                inner_tests, inner_words = self.table(value, here, f"{prefix}{key}.")
                tests += inner_tests
                words += inner_words
            elif (found := self._field(prefix + key, value, here)) is not None:
                tests.append(found[0])
                words.append(found[1])
        return tests, words

    def _is_record(self, name: str, value: Any) -> bool:
        return (
            name in RECORDS
            and isinstance(value, Mapping)
            and bool(value)
            and not set(value) & set(p.OPERATORS)
        )

    def _group(
        self, key: str, value: list[Any], path: Path, tests: list[Predicate], words: list[str]
    ) -> None:
        parts: list[Predicate] = []
        said: list[str] = []
        if not value:
            self._problems.add(path, f"{key} is an empty list", f"write {key} = [{{ ... }}, {{ ... }}]")
        for n, item in enumerate(value):
            if not isinstance(item, Mapping):
                self._problems.add(
                    (*path, n), f"{quote(item)} is no condition", f"write {key} = [{{ ... }}, {{ ... }}]"
                )
                continue
            inner_tests, inner_words = self.table(item, (*path, n))
            if inner_tests:
                parts.append(p.all_hold(inner_tests))
                both = key == "any" and len(inner_words) > 1
                said.append(f"({' and '.join(inner_words)})" if both else " and ".join(inner_words))
        if parts:
            tests.append(p.any_holds(parts) if key == "any" else p.all_hold(parts))
            joined = (" or " if key == "any" else " and ").join(said)
            words.append(f"({joined})" if len(said) > 1 else joined)

    def _field(self, name: str, value: Any, path: Path) -> tuple[Predicate, str] | None:
        top = name.partition(".")[0]
        if self._fields is not None and top not in self._fields:
            self._problems.add(
                path, f'{self._subject} has no field "{name}"', suggest(top, self._fields, "fields it has")
            )
            return None
        found = self._test(value, path)
        if found is None:
            return None
        self.used[top] = None
        test, said = found
        return p.field(name, test), f"{name} {said}"

    def _test(self, value: Any, path: Path) -> tuple[p.Test, str] | None:
        if isinstance(value, Mapping):
            return self._operators(value, path)
        if isinstance(value, list):
            return self._in(value, path)
        if not self._scalar(value, path):
            return None
        return p.equal(value), f"is {_said(value)}"

    def _scalar(self, value: Any, path: Path) -> bool:
        if isinstance(value, (bool, int)) or (isinstance(value, Decimal) and value.is_finite()):
            return True
        if isinstance(value, str):
            if value.strip():
                return True
            self._problems.add(
                path, "an empty text matches nothing", "use { known = false } for what is missing"
            )
        else:
            self._problems.add(
                path, f"{quote(value)} cannot be compared", "use text, a number, true or false"
            )
        return False

    def _in(self, value: Any, path: Path) -> tuple[p.Test, str] | None:
        if not isinstance(value, list) or not value:
            self._problems.add(path, "a list of values is needed here", 'write ["...", "..."]')
            return None
        sound = [self._scalar(item, (*path, n)) for n, item in enumerate(value)]  # all are looked at
        if not all(sound):
            return None
        return p.any_of(value), f"is {_either(value)}"

    def _operators(self, value: Mapping[str, Any], path: Path) -> tuple[p.Test, str] | None:
        tests: list[p.Test] = []
        words: list[str] = []
        if not value:
            self._problems.add(path, "the test is empty", "write for instance { min = 200 }")
        for operator, argument in value.items():
            here = (*path, operator)
            found: tuple[p.Test, str] | None
            if operator == "is":
                found = (p.equal(argument), f"is {_said(argument)}") if self._scalar(argument, here) else None
            elif operator == "in":
                found = self._in(argument, here)
            elif operator == "not":
                inner = self._test(argument, here)
                found = None if inner is None else (p.negate(inner[0]), _negated(inner[1]))
            elif operator in ("min", "max"):
                found = self._limit(operator, argument, here)
            elif operator == "known":
                found = self._known(argument, here)
            elif operator in _TEXT_TESTS:
                found = self._texts(operator, argument, here)
            else:
                self._problems.add(
                    here, f'"{operator}" is no test of a value', suggest(operator, p.OPERATORS, "tests")
                )
                found = None
            if found is not None:
                tests.append(found[0])
                words.append(found[1])
        low, high = value.get("min"), value.get("max")
        if isinstance(low, (int, Decimal)) and isinstance(high, (int, Decimal)) and low > high:
            self._problems.add((*path, "min"), f"min {low} is above max {high}", "nothing is both; swap them")
        return (p.every(tests), " and ".join(words)) if tests else None

    def _limit(self, operator: str, value: Any, path: Path) -> tuple[p.Test, str] | None:
        number = not isinstance(value, bool) and isinstance(value, (int, Decimal))
        if not number or not Decimal(value).is_finite():
            self._problems.add(
                path, f"{operator} needs a number, not {quote(value)}", f"write {operator} = 200"
            )
            return None
        return (
            (p.at_least(value), f"is at least {value}")
            if operator == "min"
            else (p.at_most(value), f"is at most {value}")
        )

    def _known(self, value: Any, path: Path) -> tuple[p.Test, str] | None:
        if not isinstance(value, bool):
            self._problems.add(path, f"known must be true or false, not {quote(value)}", "write known = true")
            return None
        return p.known(value), "is known" if value else "is not known"

    def _texts(self, operator: str, value: Any, path: Path) -> tuple[p.Test, str] | None:
        items = value if isinstance(value, list) else [value]
        if not items or not all(isinstance(item, str) and item.strip() for item in items):
            self._problems.add(
                path,
                f"{operator} needs text, not {quote(value)}",
                f'write {operator} = "..." or a list of texts',
            )
            return None
        make, one, several = _TEXT_TESTS[operator]
        said = f"{one if len(items) == 1 else several} {', '.join(map(_said, items))}"
        return make(tuple(item.casefold().strip() for item in items)), said


def condition(
    table: Table, *, fields: Collection[str] | None = None, subject: str = "", required: bool = False
) -> Condition | None:
    """The condition under ``when`` (or ``where``) of a rule.

    :param fields: names that may be asked for; None if anything may be (attributes).
    :param subject: what has these fields, for messages.
    """
    when, where = table.raw("when"), table.raw("where")
    if when is not None and where is not None:
        table.wrong("where", "when and where mean the same", "keep one of them")
    key = "where" if when is None and where is not None else "when"
    value = when if key == "when" else where
    if value is None:
        if required:
            table.wrong("when", "when is missing", 'add when = { role = "cfo" }')
        return None
    if not isinstance(value, Mapping):
        table.wrong(key, f"{key} must be a table, not {quote(value)}", f'write {key} = {{ role = "cfo" }}')
        return None
    compiler = _Compiler(table.problems, fields, subject)
    tests, words = compiler.table(value, (*table.path, key))
    if not tests:
        return None
    return Condition(text=" and ".join(words), test=p.all_hold(tests), fields=tuple(compiler.used))
