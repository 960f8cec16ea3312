"""The generated reference pages say what the code says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def _build() -> dict[str, str]:
    spec = importlib.util.spec_from_file_location("docs_build", DOCS / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pages: dict[str, str] = module.pages()
    return pages


@pytest.mark.parametrize(
    "name", ["settings.md", "topics.md", "events.md", "outputs.md", "figures.md", "restatements.md"]
)
def test_page_is_up_to_date(name: str) -> None:
    assert (DOCS / "reference" / name).read_text("utf-8") == _build()[name], "run `make docs`"
