"""How long the broker may hold a fetch back to let a batch grow."""

from __future__ import annotations

import time


class Pace:
    """Spaces polls such that their fixed cost stays within a share of a core.

    What a poll costs besides its records (a fetch, a Faust message and one transaction per partition)
    is paid once per poll. So ``wait = CPU per poll / share``. The broker answers at once when
    ``min_bytes`` are there: a backlog is never held back.

    :param share: of one core, for polling.
    :param longest_s: upper bound of the wait.
    :param min_bytes: enough for an answer at once.
    """

    #: Weight of the newest poll in the average cost.
    ALPHA = 0.1

    def __init__(self, share: float, longest_s: float, min_bytes: int) -> None:
        self.share = share
        self.longest_s = longest_s
        self.min_bytes = min_bytes
        self.wait_s = 0.0
        self.polls = 0
        self._cost_s = 0.0
        self._burnt_s = time.process_time()

    def next_wait_ms(self) -> int:
        """To be called after each poll that brought something: the wait for the next one."""
        self.polls += 1
        burnt = time.process_time()
        self._cost_s += self.ALPHA * (burnt - self._burnt_s - self._cost_s)
        self._burnt_s = burnt
        self.wait_s = min(self._cost_s / self.share, self.longest_s)
        return int(self.wait_s * 1000)
