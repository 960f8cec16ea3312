"""The transport under its own URL scheme; importing this module makes it known to Faust."""

from __future__ import annotations

from faust.transport import drivers
from faust.transport.drivers import aiokafka as driver

from streams.transport.consumer import BatchConsumer
from streams.transport.producer import BatchProducer

SCHEME = "kafka-batch"


class BatchTransport(driver.Transport):
    """Faust's aiokafka driver with batches for messages and a producer per task."""

    Consumer = BatchConsumer
    Producer = BatchProducer


drivers.TRANSPORTS.aliases[SCHEME] = f"{__name__}:BatchTransport"


def broker_urls(bootstrap: str) -> list[str]:
    """``host:port,host:port`` as Faust's list of broker URLs."""
    return [f"{SCHEME}://{address.strip()}" for address in bootstrap.split(",")]
