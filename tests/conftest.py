"""What the tests share: a real Kafka, topics of their own, real data, and how hard to try."""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import HealthCheck, Phase, settings

from streams.local_kafka import LocalKafka
from tests.eventually import eventually

TESTS = Path(__file__).resolve().parent
PROJECT = TESTS.parent

# Debian package of each command that a test may need.
PACKAGES = {"kcat": "kcat", "promtool": "prometheus", "prometheus": "prometheus", "chromium": "chromium"}

# deadline=None, no complaints of slowness: the machine may be busy with brokers meanwhile.
_patient = settings(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("default", _patient, max_examples=30)
# The gate draws the same examples for the same code, so that it says what changed; `make nightly` explores.
settings.register_profile("ci", _patient, max_examples=500, derandomize=True)
settings.register_profile("nightly", _patient, max_examples=10_000)
# A broken fold has to be found, not explained (`tests.mutants`).
settings.register_profile(
    "mutants", _patient, max_examples=100, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or "default")

# Renamed in the environment: the workers that tests start know it for no setting and would refuse it, and the processes
# that run tests (`make test` has one per core) find it there.
_data = os.environ.pop("LEADSTREAM_DATA", "") or os.environ.get("TESTS_DATA", "")
os.environ["TESTS_DATA"] = _data

_numbers = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-all",
        action="store_true",
        default=os.environ.get("REQUIRE_ALL") == "1",
        help="a missing Debian tool fails the test that needs it (also: REQUIRE_ALL=1)",
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """What stays together where tests are spread over processes (``make test``: one per core)."""
    from tests.spread import Spread

    return Spread(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """``@pytest.mark.needs("kcat")``: skipped, or failed with --require-all, without that command."""
    for marker in item.iter_markers("needs"):
        for tool in marker.args:
            if shutil.which(tool) is None:
                package = PACKAGES.get(tool, tool)
                reason = f"needs {tool}: run `make system-deps` (Debian package {package})"
                if item.config.getoption("--require-all"):
                    pytest.fail(reason, pytrace=False)
                pytest.skip(reason)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """Apache Kafka with one broker, started once per run."""
    with LocalKafka(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKafka]:
    """Apache Kafka with three brokers, for tests that take one of them away."""
    with LocalKafka(tmp_path_factory.mktemp("cluster"), brokers=3) as cluster:
        yield cluster


@pytest.fixture
def prefix(kafka: LocalKafka) -> Iterator[str]:
    """Begins the names of everything that one test makes on the broker; its topics are deleted after."""
    mine = f"t{next(_numbers)}-{uuid.uuid4().hex[:6]}-"
    yield mine
    delete_topics(kafka.bootstrap, mine)


@pytest.fixture
def topics(kafka: LocalKafka, prefix: str) -> Callable[..., list[str]]:
    """``topics("in", "out", partitions=4)`` creates topics of this test and returns their full names."""

    def create(*names: str, partitions: int = 4, **config: str) -> list[str]:
        full = [prefix + name for name in names]
        create_topics(kafka.bootstrap, full, partitions, config)
        return full

    return create


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real data sets: LEADSTREAM_DATA, else ``../shared/data`` beside the project."""
    folder = Path(_data) if _data else PROJECT.parent / "shared" / "data"
    if folder.is_dir():
        return folder
    if _data:
        pytest.fail(f"LEADSTREAM_DATA names {_data}, which is no folder", pytrace=False)
    pytest.skip("needs the real data sets: put them in ../shared/data or set LEADSTREAM_DATA")


def create_topics(
    bootstrap: str,
    names: list[str],
    partitions: int,
    config: dict[str, str] | None = None,
    replication: int = 1,
) -> None:
    """Create topics and wait until the broker lists them."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    settings_ = {key.replace("_", "."): value for key, value in (config or {}).items()}
    wanted = [NewTopic(name, partitions, replication, config=settings_) for name in names]
    for future in admin.create_topics(wanted, operation_timeout=30).values():
        future.result()
    eventually(lambda: set(names) <= set(admin.list_topics(timeout=10).topics), what=f"topics {names}")


def delete_topics(bootstrap: str, prefix: str) -> None:
    """Delete what begins with the prefix; a broker that is gone has nothing to delete."""
    try:
        admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        mine = [name for name in admin.list_topics(timeout=5).topics if name.startswith(prefix)]
        if mine:
            for future in admin.delete_topics(mine, operation_timeout=30).values():
                future.result()
    except KafkaException:
        return
