"""Money: integers in minor units, and how many digits a currency has (ISO 4217)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

#: Active ISO 4217 codes of currencies and funds that people trade in.
_ACTIVE = """
AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD
CAD CDF CHF CLF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD
KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK
NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD
SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYI UYU UYW UZS VED VES VND VUV
WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_ACTIVE.split())
_WHOLE = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_THREE = "BHD IQD JOD KWD LYD OMR TND"
_FOUR = "CLF UYW"
_DIGITS = {code: digits for digits, codes in ((0, _WHOLE), (3, _THREE), (4, _FOUR)) for code in codes.split()}


def minor_digits(currency: str) -> int:
    """Digits behind the point: EUR 2, JPY 0, KWD 3. Currencies nobody listed have 2, as most do."""
    return _DIGITS.get(currency, 2)


def half_even(value: Fraction) -> int:
    """The nearest integer; a tie goes to the even one, so that rounding many amounts drifts nowhere."""
    return round(value)


def to_minor(amount: int | Decimal | Fraction, currency: str) -> int:
    """An amount in whole units of the currency as minor units."""
    return half_even(Fraction(amount) * 10 ** minor_digits(currency))


def convert(amount_minor: int, currency: str, base: str, rate: Fraction) -> int:
    """Minor units of ``base`` for minor units of ``currency``; one ``currency`` costs ``rate`` ``base``."""
    return half_even(amount_minor * rate * Fraction(10) ** (minor_digits(base) - minor_digits(currency)))


def split(amount_minor: int, weights: Sequence[int | Fraction]) -> list[int]:
    """Shares that sum to the amount exactly: largest remainder, ties to the earlier weight.

    A negative amount is split as its positive twin, so that a refund takes back what was given.
    Raises ValueError for no weights, a negative one, or a sum of zero.
    """
    total = sum(weights, Fraction(0))
    if total <= 0 or any(w < 0 for w in weights):
        raise ValueError("weights must not be negative and must not sum to zero")
    sign, amount = (-1, -amount_minor) if amount_minor < 0 else (1, amount_minor)
    exact = [Fraction(w) * amount / total for w in weights]
    shares = [part.__floor__() for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: amount - sum(shares)]:
        shares[i] += 1
    return [sign * share for share in shares]


def show(amount_minor: int, currency: str) -> str:
    """For people: ``1,234.50 EUR``."""
    digits = minor_digits(currency)
    sign = "-" if amount_minor < 0 else ""
    whole, part = divmod(abs(amount_minor), 10**digits)
    return f"{sign}{whole:,}" + (f".{part:0{digits}d}" if digits else "") + f" {currency}"
