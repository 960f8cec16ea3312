"""The gate that no version of a schema locks out another one, and that the gate can fail."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.compatibility import check, check_directory
from schemas.registry import assign_ids, packaged
from tests.unit.test_schemas_registry import copied

Change = Callable[[dict[str, Any]], None]


def field(text: dict[str, Any], name: str) -> dict[str, Any]:
    return next(f for f in text["fields"] if f["name"] == name)


def add(**declared: Any) -> Change:
    return lambda text: text["fields"].append(declared)


def drop(name: str) -> Change:
    return lambda text: text["fields"].remove(field(text, name))


def alter(name: str, **changes: Any) -> Change:
    return lambda text: field(text, name).update(changes)


def second_version(root: Path, path: str, *changes: Change) -> None:
    text = json.loads((root / f"{path}.v1.avsc").read_text())
    text["leadstream.version"] = 2
    for change in changes:
        change(text)
    (root / f"{path}.v2.avsc").write_text(json.dumps(text))
    assign_ids(root)


def test_the_packaged_schemas_pass() -> None:
    assert check(packaged()) == []


@pytest.mark.parametrize(
    "change",
    [
        add(name="scroll", type=["null", "long"], default=None),
        add(name="tags", type={"type": "array", "items": "string"}, default=[]),
        drop("notes"),
        alter("reason_code", doc="In other words."),
    ],
)
def test_additions_and_removals_of_optional_fields_pass(tmp_path: Path, change: Change) -> None:
    root = copied(tmp_path)
    second_version(root, "lead/rejected", change)

    assert check_directory(root) == []


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("lead/rejected", add(name="who", type="string"), ["cannot read rejected.v1", "default", "who"]),
        ("lead/rejected", drop("reason_code"), ["rejected.v1 cannot read rejected.v2", "reason_code"]),
        ("lead/rejected", alter("reason_code", type="long"), ["another type"]),
        ("lead/rejected", alter("notes", type="string", default=""), ["cannot read"]),
        ("lead/rejected", alter("reason_code", type=["null", "string"], default=None), ["rejected.v1 cannot read"]),
        ("lead/rejected", lambda t: t.update(name="Refused"), ["another name"]),
        ("lead/rejected", lambda t: t.update({"leadstream.topic": "deal.events.v1"}), ["leadstream.topic"]),
        ("lead/touched", alter("kind", **{"leadstream.values": ["call"]}), ["no longer allows", "e-mail"]),
        ("deal/won", alter("amount", **{"leadstream.min": 1}), ["leadstream.min"]),
        ("deal/opened", alter("stage", **{"leadstream.format": "id"}), ["leadstream.format"]),
        ("output/nurture", alter("kind", type={"type": "enum", "name": "NurtureKind", "symbols": ["started"]}), ["symbol"]),
    ],
)  # fmt: skip
def test_a_change_that_locks_somebody_out_is_caught(
    tmp_path: Path, path: str, change: Change, words: list[str]
) -> None:
    root = copied(tmp_path)
    second_version(root, path, change)

    problems = "\n".join(check_directory(root))

    assert f"{path}.v2.avsc against {path}.v1.avsc" in problems
    for word in words:
        assert word in problems


def test_a_third_version_is_held_against_the_first(tmp_path: Path) -> None:
    root = copied(tmp_path)
    second_version(root, "lead/rejected", drop("notes"))
    third = json.loads((root / "lead/rejected.v2.avsc").read_text()) | {"leadstream.version": 3}
    third["fields"].append({"name": "notes", "type": ["null", "long"], "default": None})
    (root / "lead/rejected.v3.avsc").write_text(json.dumps(third))
    assign_ids(root)

    problems = check_directory(root)

    assert problems
    assert all("rejected.v3.avsc against lead/rejected.v1.avsc" in problem for problem in problems)


def test_new_symbols_of_an_output_are_read_as_unknown_by_older_readers(tmp_path: Path) -> None:
    root = copied(tmp_path)
    second_version(
        root, "output/restatement", lambda t: field(t, "op")["type"]["symbols"].insert(0, "slowed")
    )

    assert check_directory(root) == []


def _rewrite(root: Path, name: str, change: Callable[[Any], Any]) -> None:
    file = root / name
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda r: _rewrite(r, "lead/rejected.v1.avsc", lambda t: t | {"fields": t["fields"][:2]}), "changed after it was published"),
        (lambda r: _rewrite(r, "envelope.v1.avsc", lambda t: t | {"fields": t["fields"][:-1]}), "changed after it was published"),
        (lambda r: (r / "lead/rejected.v1.avsc").unlink(), "its file is gone"),
        (lambda r: _rewrite(r, "ids.json", lambda t: {k: v for k, v in t.items() if v["id"] != 5}), "gaps"),
        (lambda r: _rewrite(r, "ids.json", lambda t: t | {"won.v1": t["lost.v1"]}), "same id"),
        (lambda r: _rewrite(r, "ids.json", lambda t: dict(list(t.items())[:-1])), "has no id"),
        (lambda r: _rewrite(r, "deal/won.v1.avsc", lambda t: t | {"leadstream.version": 3}), "leadstream.version is 3"),
        (lambda r: _rewrite(r, "deal/won.v1.avsc", lambda t: t | {"leadstream.type": "lost"}), "calls itself 'lost'"),
        (lambda r: _rewrite(r, "deal/won.v1.avsc", lambda t: {k: v for k, v in t.items() if k != "leadstream.topic"}), "leadstream.topic is missing"),
        (lambda r: _rewrite(r, "deal/won.v1.avsc", lambda t: t | {"fields": t["fields"][::-1]}), "begin with it"),
        (lambda r: _rewrite(r, "deal/won.v1.avsc", lambda t: t | {"type": "recrod"}), "not a valid Avro schema"),
        (lambda r: _rewrite(r, "deal/won.v1.avsc", lambda t: t | {"fields": [{"name": "a", "type": "lnog"}]}), "not a valid Avro schema"),
        (lambda r: (r / "deal/won.v1.avsc").write_text("{"), "not JSON"),
    ],
)  # fmt: skip
def test_spoilt_folders_are_told_by_file_and_remedy(
    tmp_path: Path, spoil: Callable[[Path], object], words: str
) -> None:
    root = copied(tmp_path)
    spoil(root)

    assert words in "\n".join(check_directory(root))
