"""A worker process with the toy topology: ``python -m tests.integration.toy_worker``, settings by environment."""

from __future__ import annotations

import sys

from streams.settings import load
from streams.worker import run
from tests.integration.toy import ToyTopology

if __name__ == "__main__":
    settings = load()
    sys.exit(run(settings, ToyTopology(settings)))
