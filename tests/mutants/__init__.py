"""Is a broken fold noticed? Each mutant breaks the program in one way, and the tests named with it must fail.

`catalogue` lists them, ``python -m tests.mutants`` tries them all with every test that is named, and `test_mutants`
each with the first one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]
#: What a test of the fold needs.
_PARTS = ("schemas", "processors", "streams", "tests", "pyproject.toml", "docs")
#: Exit codes of pytest: tests failed; anything else than this and "passed" is no answer.
_PASSED, _FAILED = 0, 1


class Mutant(NamedTuple):
    """``old`` stands exactly once in ``file``, and ``new`` in its place must make each of ``tests`` fail.

    The first test is the quickest one.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


class StaleMutantError(Exception):
    """The program has changed: a mutant's text, or a test that it names, is gone."""


class Workshop:
    """A copy of the project that mutants are tried on, one at a time."""

    def __init__(self, folder: Path, seconds: float = 300) -> None:
        self.folder, self.seconds = folder, seconds
        self._tick = 0
        for part in _PARTS:
            source, target = PROJECT / part, folder / part
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)

    def survives(self, mutant: Mutant, test: str) -> bool:
        """Does the test pass although the program is broken?

        :raises StaleMutantError: where the mutant cannot be made, or the test cannot be run.
        """
        path = self.folder / mutant.file
        text = path.read_text("utf-8")
        found = text.count(mutant.old)
        if found != 1:
            raise StaleMutantError(
                f"mutant {mutant.name}: {mutant.file} has {found} places with {mutant.old!r}, not one; "
                "write in tests/mutants/catalogue.py what stands there now"
            )
        try:
            self._write(path, text.replace(mutant.old, mutant.new))
            return self.passes([test])
        finally:
            self._write(path, text)

    def _write(self, path: Path, text: str) -> None:
        """With a time of its own, or Python would take the bytecode of what stood there within the same second."""
        path.write_text(text, "utf-8")
        self._tick += 1
        os.utime(path, (self._tick, self._tick))

    def passes(self, tests: list[str]) -> bool:
        """:raises StaleMutantError: where pytest can neither say yes nor no."""
        found = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests],
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": str(self.folder), "HYPOTHESIS_PROFILE": "mutants"},
            capture_output=True,
            text=True,
            check=False,
            timeout=self.seconds,
        )
        if found.returncode not in (_PASSED, _FAILED):
            raise StaleMutantError(
                f"pytest cannot run {tests}:\n{found.stdout[-2000:]}{found.stderr[-2000:]}"
            )
        return found.returncode == _PASSED
