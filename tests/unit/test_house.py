"""What the house promises: targets, locks, the direction of imports, nothing of one machine."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.mutants.catalogue import MUTANTS

PROJECT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TARGETS = [
    "setup",
    "demo",
    "test",
    "lint",
    "bench",
    "olist",
    "chaos",
    "nightly",
    "mutants",
    "system-deps",
    "docs",
    "clean",
    "help",
]
LOCKS = sorted((PROJECT / "requirements").glob("*.txt"))

# Put together from pieces, so that this file does not find itself.
MACHINE = re.compile(
    "|".join(["/" + f + "/" for f in ("root", "work", "tmp/lead")] + ["/opt/" + "wheels", "/home" + r"/\w"])
)
INDEXES = re.compile(
    "|".join(
        a + re.escape(b)
        for a, b in [
            ("py", "pi.org"),
            ("python", "hosted.org"),
            ("--(?:extra-)?index", "-url="),
            ("repo1?", ".maven.apache.org"),
            ("repo1", ".maven.org"),
            ("registry", ".npmjs.org"),
            ("docker", ".io/"),
            ("ghcr", ".io/"),
        ]
    )
)


def tracked() -> list[Path]:
    """Files that git tracks or would: the tree without what .gitignore names."""
    answer = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=False,
        capture_output=True,
        text=True,
        cwd=PROJECT,
    )
    if answer.returncode:
        pytest.skip("needs a git checkout")
    return [p for name in answer.stdout.split("\0") if name and (p := PROJECT / name).is_file()]


def test_help_lists_every_target() -> None:
    said = subprocess.run(
        ["make", "-s", "help"], check=True, capture_output=True, text=True, cwd=PROJECT
    ).stdout
    assert not [t for t in TARGETS if f"make {t} " not in said]
    rules = re.findall(r"^([a-z-]+):(?!=)", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert not [t for t in rules if f"make {t} " not in said], "a target without its ## line"


def test_make_test_never_changes_the_system() -> None:
    plan = subprocess.run(
        ["make", "-n", "test"], check=True, capture_output=True, text=True, cwd=PROJECT
    ).stdout
    assert "pytest" in plan
    assert "sudo" not in plan
    assert "apt-get install -y" not in plan


@pytest.mark.parametrize("lock", LOCKS, ids=lambda p: p.name)
def test_every_requirement_is_pinned_with_hashes(lock: Path) -> None:
    entries = re.split(r"\n(?=[A-Za-z0-9])", lock.read_text(encoding="utf-8").strip())
    assert len(entries) > 3
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+==\S+", entry), entry.splitlines()[0]
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


def test_locks_agree_with_each_other_and_with_the_exact_pins() -> None:
    pins = {
        p.name: dict(re.findall(r"^([\w.-]+)==(\S+)", p.read_text(encoding="utf-8"), re.MULTILINE))
        for p in LOCKS
    }
    assert pins["run.txt"].items() <= pins["dev.txt"].items()
    assert pins["build.txt"].items() <= pins["dev.txt"].items()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for exact in ("faust-streaming", "aiokafka"):
        assert f"{exact}=={pins['run.txt'][exact]}" in project["dependencies"]


def test_requirements_are_those_of_the_project() -> None:
    wanted = (PROJECT / "requirements" / "run.in").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert sorted(x for x in wanted if x and not x.startswith("#")) == sorted(project["dependencies"])


def test_nothing_speaks_of_one_machine_or_one_index() -> None:
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if MACHINE.search(line) or INDEXES.search(line):
                found.append(f"{path.relative_to(PROJECT)}:{number}: {line.strip()[:80]}")
    assert not found


def test_imports_go_one_way() -> None:
    answer = subprocess.run([BIN / "lint-imports"], check=False, capture_output=True, text=True, cwd=PROJECT)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("how", [["check"], ["format", "--check"]], ids=lambda how: how[0])
def test_code_is_clean(how: list[str]) -> None:
    answer = subprocess.run(
        [BIN / "ruff", *how, "--quiet", "."], check=False, capture_output=True, text=True, cwd=PROJECT
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_domain_takes_only_what_is_pure_of_uuid_and_urllib() -> None:
    impure = re.compile(r"uuid[1467]\b|getnode|urllib\.(request|error|robotparser)|urlopen|\bopen\(")
    found = [
        p.name for p in (PROJECT / "processors").rglob("*.py") if impure.search(p.read_text(encoding="utf-8"))
    ]
    assert not found


def test_what_mutants_break_is_there() -> None:
    """A mutant of a line that is no more breaks nothing, and only the long tests would say so."""
    files = {m.file: (PROJECT / m.file).read_text(encoding="utf-8") for m in MUTANTS}
    assert [m.name for m in MUTANTS if files[m.file].count(m.old) != 1] == []
