"""Minor units, rounding and splitting."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors import money


def test_case_45_yen_have_no_minor_unit_and_dinars_three_digits() -> None:
    assert [money.minor_digits(c) for c in ("JPY", "EUR", "KWD", "CLF")] == [0, 2, 3, 4]
    assert money.to_minor(Decimal("12.345"), "KWD") == 12_345
    assert money.to_minor(Decimal("12.5"), "JPY") == 12
    assert money.show(123_450, "EUR") == "1,234.50 EUR"
    assert money.show(-1_234, "JPY") == "-1,234 JPY"


@pytest.mark.parametrize(
    ("amount", "currency", "base", "rate", "expected"),
    [
        (1000, "JPY", "EUR", "0.0061", 610),  # 1000 yen are 6.10 euro
        (610, "EUR", "JPY", "163.934", 1000),
        (1_000, "KWD", "EUR", "3.2", 320),  # one dinar
        (1, "USD", "EUR", "0.5", 0),  # a half goes to the even one
        (3, "USD", "EUR", "0.5", 2),
        (-3, "USD", "EUR", "0.5", -2),
    ],
)
def test_case_45_conversion_is_exact_and_half_even(
    amount: int, currency: str, base: str, rate: str, expected: int
) -> None:
    assert money.convert(amount, currency, base, Fraction(rate)) == expected


def test_shares_by_largest_remainder() -> None:
    assert money.split(100, [1, 1, 1]) == [34, 33, 33]
    assert money.split(-100, [1, 1, 1]) == [-34, -33, -33]
    assert money.split(5, [0, 2, 3]) == [0, 2, 3]
    with pytest.raises(ValueError, match="weights"):
        money.split(5, [])
    with pytest.raises(ValueError, match="weights"):
        money.split(5, [2, -1])


@given(st.integers(-(10**12), 10**12), st.lists(st.integers(0, 10**6), min_size=1, max_size=8))
def test_shares_sum_to_the_amount(amount: int, weights: list[int]) -> None:
    if sum(weights):
        shares = money.split(amount, weights)
        assert sum(shares) == amount
        assert all(share == 0 for share, weight in zip(shares, weights, strict=True) if weight == 0)
