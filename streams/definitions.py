"""Definitions as files: the packaged default, and the one that the settings name."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from msgspec.structs import replace

from processors.definition import load as loader
from processors.definition.model import Definition
from streams.errors import WorkerError
from streams.settings import Settings


def default_text() -> str:
    return (files("processors.definition") / "default.toml").read_text("utf-8")


@cache
def default_definition() -> Definition:
    """The packaged default, read once, which also stands in for what another definition leaves out."""
    return loader.load(default_text(), origin="default.toml")


def packaged(name: str) -> str:
    """Text of a definition or mapping that comes with leadstream, such as ``olist/definition.toml``."""
    return (files("streams.sources") / name).read_text("utf-8")


def base_definition(settings: Settings) -> Definition:
    """What holds from the beginning, until a published definition takes effect.

    :raises DefinitionError: with one line per problem; :raises WorkerError: the file cannot be read.
    """
    if not settings.definition:
        return replace(default_definition(), effective_at=0)
    path = Path(settings.definition)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise WorkerError(f"definition {path}: {exc}; set `definition` to a readable TOML file") from exc
    return replace(loader.load(text, origin=str(path), base=default_definition()), effective_at=0)
