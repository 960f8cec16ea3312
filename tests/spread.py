"""Tests on all cores: which of them one process runs one after the other.

Tests on Kafka share their brokers, and mostly wait: all of them in one process. The modules of other folders have
fixtures of their own. Laws and mutants compute for long and share nothing: each goes where there is time.
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

ON_KAFKA = ("integration", "chaos")
ALONE = ("laws", "mutants")


class Spread(LoadScopeScheduling):
    """By folder. (xdist's own groups by mark rest on a field of pytest that is gone.)"""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        folder = path.split("/")[1]
        return "kafka" if folder in ON_KAFKA else nodeid if folder in ALONE else path
