"""Conditions: what each test means, and that none ever fails."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.definition.load import load
from processors.definition.model import Condition


def when(toml: str) -> Condition:
    """The condition of a segment written like this."""
    text = f'name = "t"\nversion = 1\n[[segments]]\nname = "s"\nwhen = {toml}\n'
    return load(text).segments[0].when


@pytest.mark.parametrize(
    ("toml", "values", "holds"),
    [
        ('{ role = "CFO" }', {"role": " cfo "}, True),
        ('{ role = "CFO" }', {"role": "cfo's aide"}, False),
        ('{ role = "CFO" }', {}, False),
        ('{ role = "CFO" }', {"role": None}, False),
        ('{ role = "CFO" }', {"role": ["ceo", "cfo"]}, True),
        ('{ role = ["CFO", "ceo"] }', {"role": "CEO"}, True),
        ('{ role = { in = ["CFO", 3] } }', {"role": 3}, True),
        ('{ role = { is = "cfo" } }', {"role": "CFO"}, True),
        ('{ role = { not = "cfo" } }', {"role": "CFO"}, False),
        ('{ role = { not = "cfo" } }', {}, True),
        ('{ role = { not = ["cfo", "ceo"] } }', {"role": "vp"}, True),
        ('{ role = { not = { contains = "intern" } } }', {"role": "Internal audit"}, False),
        ("{ trial = true }", {"trial": True}, True),
        ("{ trial = true }", {"trial": "yes"}, True),
        ("{ trial = true }", {"trial": 1}, False),
        ("{ trial = false }", {}, False),
        ("{ size = 50 }", {"size": "50"}, True),
        ("{ size = 50 }", {"size": 50.0}, True),
        ('{ size = "50" }', {"size": 50}, True),
        ("{ size = 1 }", {"size": True}, False),
        ("{ size = { min = 200 } }", {"size": 200}, True),
        ("{ size = { min = 200 } }", {"size": "199.5"}, False),
        ("{ size = { min = 200 } }", {"size": "201-500"}, True),
        ("{ size = { min = 200 } }", {"size": "51-200"}, False),
        ("{ size = { max = 200 } }", {"size": "51-200"}, True),
        ("{ size = { min = 1000 } }", {"size": "1000+"}, True),
        ("{ size = { max = 1000 } }", {"size": "1000+"}, False),
        ("{ size = { min = 2.5, max = 3 } }", {"size": 2.5}, True),
        ("{ size = { min = 2.5, max = 3 } }", {"size": float("nan")}, False),
        ("{ size = { min = 200 } }", {"size": "many"}, False),
        ('{ url = { contains = "/Pricing" } }', {"url": "https://a.example/pricing?x"}, True),
        ('{ url = { contains = ["/a", "/b"] } }', {"url": "/b"}, True),
        ('{ url = { contains = "/a" } }', {"url": 17}, False),
        ('{ role = { word = "cto" } }', {"role": "Director"}, False),
        ('{ role = { word = ["cto", "vice president"] } }', {"role": "Vice President, Sales"}, True),
        ('{ url = { starts_with = "https:" } }', {"url": "HTTPS://x"}, True),
        ('{ url = { ends_with = [".pdf", ".doc"] } }', {"url": "x.doc"}, True),
        ('{ host = { matches = "*.example" } }', {"host": "www.Example"}, True),
        ('{ host = { matches = "*.example" } }', {"host": "example.net"}, False),
        ("{ role = { known = true } }", {"role": "  "}, False),
        ("{ role = { known = false } }", {"role": []}, True),
        ("{ role = { known = true } }", {"role": 0}, True),
        ('{ role = "a", size = 3 }', {"role": "a", "size": 3}, True),
        ('{ role = "a", size = 3 }', {"role": "a"}, False),
        ('{ any = [{ role = "a" }, { size = 3, x = 1 }] }', {"size": 3, "x": 1}, True),
        ('{ any = [{ role = "a" }, { size = 3, x = 1 }] }', {"size": 3}, False),
        ('{ role = "a", any = [{ size = 1 }, { size = 2 }] }', {"role": "a", "size": 2}, True),
        ('{ "utm.source" = "x" }', {"utm": {"source": "X"}}, True),
        ('{ "utm.source" = "x" }', {"utm.source": "x"}, True),
        ('{ utm.source = "x" }', {"utm": {"source": "x"}}, True),
        ('{ utm.source = "x" }', {"utm": "x"}, False),
        (
            '{ utm = { source = "x", medium = { starts_with = "c" } } }',
            {"utm": {"source": "x", "medium": "cpc"}},
            True,
        ),
    ],
)
def test_what_a_condition_means(toml: str, values: dict[str, Any], holds: bool) -> None:
    assert when(toml).test(values) is holds


def test_a_condition_says_itself_and_names_its_fields() -> None:
    condition = when(
        '{ role = { word = ["cfo", "ceo"] }, size = { min = 200, max = 500 }, '
        'any = [{ country = "AT", trial = true }, { country = { not = ["DE", "CH"] } }] }'
    )
    assert condition.text == (
        'role has one of the words "cfo", "ceo" and size is at least 200 and is at most 500 and '
        '((country is "AT" and trial is yes) or country is not one of "DE", "CH")'
    )
    assert condition.fields == ("role", "size", "country", "trial")


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.decimals()
    | st.sampled_from(["51-200", "9" * 5000, "1e999999999", "NaN", Decimal("sNaN"), 10**4000, object()]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=5,
)  # fmt: skip
EVERYTHING = when(
    '{ any = [{ a = "x" }, { a = 1 }, { a = true }, { a = [1, "x", 2.5] }, { a = { min = 2.5 } }, { a = { max = 3 } }, '
    '{ a = { contains = "x" } }, { a = { word = "x" } }, { a = { starts_with = "x" } }, { a = { ends_with = "x" } }, '
    '{ a = { matches = "*[ab]?x*" } }, { a = { known = false } }, { utm.source = "x" }, '
    '{ a = { not = { in = ["x"], known = true, min = 3 } } }] }'
)


@given(ANYTHING, ANYTHING)
def test_no_value_makes_a_condition_fail(a: Any, utm: Any) -> None:
    assert EVERYTHING.test({"a": a, "utm": utm}) in (True, False)
