"""Distributions in whole numbers: bins of durations, and quantiles of what was counted in them.

Durations in days are kept as they are; shorter ones, of many lengths, in bins of at most 1 % relative error.
"""

from __future__ import annotations

from collections.abc import Iterable


def log_bin(ms: int) -> int:
    """Bin of a duration: exact seconds below 128 s, above it 128 bins per doubling, at most 0.8 % wide."""
    s = max(ms, 0) // 1000
    if s < 128:
        return s
    e = s.bit_length() - 8
    return 128 + e * 128 + ((s >> e) - 128)


def bin_start(n: int) -> int:
    """Where a bin begins, seconds."""
    e, m = divmod(n - 128, 128)
    return n if n < 128 else 128 + m << e


def bin_seconds(n: int) -> int:
    """The middle of a bin, seconds."""
    return n if n < 128 else bin_start(n) + (1 << (n - 128) // 128 >> 1)


def quantile(bins: Iterable[tuple[int, int]], num: int, den: int, beyond: int = 0) -> int | None:
    """The smallest value that at least num/den of all do not exceed.

    :param bins: (value, how many).
    :param beyond: how many more are above every value, censored; None where the quantile falls among them.
    """
    counted = sorted(bins)
    total = sum(n for _, n in counted) + beyond
    passed = 0
    for value, n in counted:
        passed += n
        if passed * den >= total * num:
            return value
    return None
