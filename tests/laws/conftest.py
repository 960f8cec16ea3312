"""How long a law may take: it is drawn examples of by the hundred, or at night by the ten thousand."""

from __future__ import annotations

from pathlib import Path

import pytest

LAWS = Path(__file__).parent
SECONDS = 4 * 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(LAWS):
            item.add_marker(pytest.mark.timeout(SECONDS))
