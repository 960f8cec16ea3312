"""How rows are stored: what was stored once can be read for ever, and a row weighs what it takes in memory."""

from __future__ import annotations

from base64 import b85decode
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from processors.model import PACKED, PLAIN, Row, State, dump, encode, load, weight
from processors.words import WORDS

#: A row as it lies in the changelogs of deployments.
STORED = bytes.fromhex(
    "03602601f50300930411cdbee36c861698255b5a12224078e020ab0183050ab0ae125855512138003530255580c080282801"
    "4f4e019a98002c293d9d4de65239cbfbcfd0fd7f8395ed7fff7ff93f13fce460aaed5c6ddce589dc6b535a20877111398e78"
    "c7698e4d34a6f0ada59b91220e70683a46fd3ebf52d5e2f22139ee9d9d93806b43"
)
_texts = st.lists(st.text(max_size=60), max_size=40)


def stored_once() -> Row:
    head = State(
        n=2, attributes={"company": "Example", "country": "DE"}, source="newsletter", segment="enterprise"
    )
    return Row(head=head, ledger=bytes(range(48)) * 4, data=["www.example.com/pricing"] * 8, version=7)


def test_the_dictionary_that_rows_were_stored_with_stays() -> None:
    assert sha256(b85decode(WORDS)).hexdigest()[:16] == "3537e924e3e97f69"


def test_a_row_that_was_stored_once_can_be_read() -> None:
    assert STORED[:1] == PACKED
    assert load(STORED) == stored_once()


@given(_texts)
def test_a_row_comes_back_as_it_was_and_weighs_what_it_takes_unpacked(texts: list[str]) -> None:
    row = Row(data=list(texts))
    data = dump(row)
    assert load(data) == row
    assert weight(data) == len(encode(row))
    assert data[:1] in (PLAIN, PACKED)
