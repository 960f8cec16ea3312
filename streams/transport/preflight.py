"""What must hold on the broker before a worker may read anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import mode
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from streams.errors import WorkerError
from streams.settings import ALL_OUTPUTS, SIDE_INPUTS, SOURCES, Settings
from streams.transport.security import client_options


async def partition_counts(settings: Settings) -> dict[str, int]:
    """Partitions of every topic of the deployment.

    All topics are listed instead of asking for ours: with broker auto-creation on, asking for a
    missing topic would create it, with the wrong number of partitions.

    :raises WorkerError: the broker cannot be reached, or the topics are not as they must be.
    """
    client = AIOKafkaAdminClient(**client_options(settings))
    try:
        await client.start()
        described = await client.describe_topics()
    except KafkaError as error:
        raise WorkerError(
            f"no answer from Kafka at {settings.bootstrap} ({settings.security_protocol}): {error}; check "
            f"bootstrap, security_protocol and the login (`leadstream doctor` looks closer)"
        ) from error
    finally:
        await client.close()
    found = {topic["topic"]: len(topic["partitions"]) for topic in described}
    check(found, settings)
    return found


def check(found: Mapping[str, int], settings: Settings) -> None:
    """Whether all topics exist, and the sources are co-partitioned with the table.

    :raises WorkerError: naming the topics that are not.
    """
    sources = settings.topics.named(*SOURCES)
    others = settings.topics.named(*SIDE_INPUTS, *ALL_OUTPUTS)
    missing = [name for name in (*sources, settings.changelog, *others) if name not in found]
    if missing:
        raise WorkerError(
            f"missing topics on {settings.bootstrap}: {', '.join(missing)}; create them with "
            f"`leadstream topics create`"
        )
    counts = {name: found[name] for name in (*sources, settings.changelog)}
    if set(counts.values()) != {settings.partitions}:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise WorkerError(
            f"not co-partitioned: each of these topics must have {settings.partitions} partitions (setting "
            f"partitions), but they have: {listed}; the number is fixed for the life of a deployment: set "
            f"partitions to it, or start anew under another app_id and topic_prefix with "
            f"`leadstream topics create`"
        )


class Preflight(mode.Service):
    """Runs the check when the worker starts, before anything reads; keeps what it found."""

    def __init__(self, settings: Settings, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self.partitions: dict[str, int] = {}

    async def on_start(self) -> None:
        self.partitions |= await partition_counts(self._settings)
