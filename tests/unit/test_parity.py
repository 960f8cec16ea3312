"""The transport stands on the inside of Faust and aiokafka; this notices when that has changed.

Each line is a piece of their source that `streams` overrides or relies on, with the hash it had when
our code was written against it. A new version that changes one of them fails here, and says which part
of ours has to be read again beside it. ``python -m tests.unit.test_parity`` prints the present hashes.
"""

from __future__ import annotations

import hashlib
import inspect
from importlib.metadata import version
from typing import Any

import aiokafka
import faust
import mode
import pytest
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.producer import message_accumulator, sender
from faust.stores import base as stores
from faust.tables import base as tables
from faust.tables import recovery
from faust.transport import conductor
from faust.transport import consumer as consumers
from faust.transport.drivers import aiokafka as driver
from mode import threads

PINNED = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}

CONSUMER = "streams/transport/consumer.py"
PRODUCER = "streams/transport/producer.py"
TABLE = "streams/table.py"
APP = "streams/app.py"
DELIVERY = "streams/delivery.py"

#: Where in ours, what of theirs, hash of its source.
RELIED_ON: list[tuple[str, Any, str]] = [
    (CONSUMER, driver.AIOKafkaConsumerThread._create_worker_consumer, "c2701bfc3e6f"),
    (CONSUMER, driver.AIOKafkaConsumerThread._fetch_records, "39a2c6c79fc1"),
    (CONSUMER, driver.AIOKafkaConsumerThread.getmany, "26fc5fc9f3b6"),
    (CONSUMER, driver.AIOKafkaConsumerThread._seek_wait, "9d221e816d94"),
    (CONSUMER, driver.AIOKafkaConsumerThread._highwaters, "a7f4f97d9f32"),
    (CONSUMER, driver.AIOKafkaConsumerThread.earliest_offsets, "5d697cd76873"),
    (CONSUMER, driver.ConsumerRebalanceListener, "f3d04f29dfb3"),
    (CONSUMER, driver.Consumer._new_consumer_thread, "0870ec53dea7"),
    (CONSUMER, consumers.Consumer.getmany, "4b168d84882a"),
    (CONSUMER, consumers.Consumer._wait_next_records, "6218e1969a63"),
    (CONSUMER, consumers.Consumer._drain_messages, "44a2500309e8"),
    (CONSUMER, consumers.Consumer.perform_seek, "0e8c130ff4b0"),
    (CONSUMER, consumers.Consumer.wait_empty, "e4662fe24f09"),
    (CONSUMER, consumers.Consumer.on_stop, "45b1d2210ce2"),
    (CONSUMER, consumers.Consumer.on_partitions_revoked, "d04b7ae72c6f"),
    (CONSUMER, consumers.Consumer.on_partitions_assigned, "29ce96596f05"),
    (CONSUMER, consumers.Consumer._add_gap, "4df2573ded7c"),
    (CONSUMER, consumers.Consumer.verify_event_path, "aead7dc3d8dc"),
    (CONSUMER, consumers.ThreadDelegateConsumer._getmany, "f9d47aa9010b"),
    (CONSUMER, conductor.ConductorCompiler.build, "837cf521368c"),
    (CONSUMER, threads.ServiceThread.on_crash, "d1b1624686ba"),
    (CONSUMER, group_coordinator.GroupCoordinator.fetch_committed_offsets, "6c049c737916"),
    (CONSUMER, group_coordinator.GroupCoordinator._do_fetch_commit_offsets, "b0f359813271"),
    (CONSUMER, aiokafka.AIOKafkaConsumer.end_offsets, "f4b190785818"),
    (CONSUMER, aiokafka.AIOKafkaConsumer.seek, "a9430f1f3b9a"),
    (CONSUMER, aiokafka.AIOKafkaConsumer.start, "2f1ba7044332"),
    (CONSUMER, fetcher.PartitionRecords, "94aa0da0dbec"),
    (CONSUMER, fetcher.FetchResult, "d7db13f06de8"),
    (CONSUMER, fetcher.Fetcher.fetched_records, "be4348896b9b"),
    (CONSUMER, fetcher.Fetcher._create_fetch_waiter, "61d840568746"),
    (CONSUMER, fetcher.Fetcher.seek_to, "f0ba6aba6c22"),
    (CONSUMER, subscription_state.TopicPartitionState, "2b83334afadf"),
    (CONSUMER, subscription_state.Assignment, "ce6859542c70"),
    (PRODUCER, driver.Producer.__post_init__, "4ae6f6f586b8"),
    (PRODUCER, driver.Producer._settings_default, "9c39987fb719"),
    (PRODUCER, driver.Producer._settings_extra, "a4c7bc41b638"),
    (PRODUCER, driver.Producer.on_stop, "86799c5ab7b6"),
    (PRODUCER, driver.credentials_to_aiokafka_auth, "364c9c9c6852"),
    (PRODUCER, sender.AddPartitionsToTxnHandler, "112129b2ac04"),
    (DELIVERY, aiokafka.AIOKafkaProducer.create_batch, "c4efda4bb7a0"),
    (DELIVERY, aiokafka.AIOKafkaProducer.send_batch, "bf42b0f0c5c0"),
    (DELIVERY, aiokafka.AIOKafkaProducer.commit_transaction, "c7f9677c8941"),
    (DELIVERY, message_accumulator.MessageAccumulator.add_batch, "5ed1c5b1367a"),
    (DELIVERY, message_accumulator.MessageAccumulator.drain_by_nodes, "fc995afbfc57"),
    (TABLE, tables.Collection.on_start, "daddcc354ad0"),
    (TABLE, tables.Collection.on_rebalance, "0812ad692171"),
    (TABLE, tables.Collection.on_recovery_completed, "b1526fb39ea0"),
    (TABLE, tables.Collection.apply_changelog_batch, "b980a78d3ae9"),
    (TABLE, tables.Collection.persisted_offset, "d473d3ab3fd6"),
    (TABLE, stores.Store.__init__, "d1705e3cfe39"),
    (TABLE, recovery.Recovery.on_rebalance, "aa4d997a1795"),
    (TABLE, recovery.Recovery._restart_recovery, "6bd8a8558a2d"),
    (TABLE, recovery.Recovery._resume_streams, "d986a6710c1a"),
    (TABLE, recovery.Recovery.on_recovery_completed, "6ef567acf072"),
    (TABLE, recovery.Recovery._build_highwaters, "91b4cc0d3724"),
    (TABLE, recovery.Recovery._build_offsets, "27eec86be06c"),
    (TABLE, recovery.Recovery._seek_offsets, "19598ca63d94"),
    (TABLE, recovery.Recovery._slurp_changelogs, "7825c7e50f76"),
    (APP, faust.App.on_init_dependencies, "7621a70a9b01"),
    (APP, faust.App._create_directories, "a9f571c3b04a"),
    (APP, faust.App.FlowControlQueue, "9451c49351ae"),
    (APP, faust.App._on_partitions_revoked, "d5c895bbe57d"),
    (APP, faust.App._on_partitions_assigned, "de932b7927db"),
    (APP, faust.App._stop_consumer, "55854a5de12c"),
    (APP, mode.Service.crash, "14980000465d"),
    (APP, mode.Service._crash, "7bc0c709a151"),
    (APP, mode.Service.stop, "e17cd2b6bd01"),
]


def fingerprint(thing: Any) -> str:
    return hashlib.sha256(inspect.getsource(plain(thing)).encode()).hexdigest()[:12]


def name_of(thing: Any) -> str:
    return f"{plain(thing).__module__}.{plain(thing).__qualname__}"


def plain(thing: Any) -> Any:
    """The function behind mode's ``@Service.task``."""
    return getattr(thing, "fun", thing)


@pytest.mark.parametrize("package", PINNED)
def test_the_pinned_version_is_installed(package: str) -> None:
    assert version(package) == PINNED[package], (
        f"{package} {version(package)} is installed, but the transport was written against "
        f"{PINNED[package]}: run this test module, read again what it names, run tests/integration, and "
        f"only then change the pin here and in pyproject.toml"
    )


@pytest.mark.parametrize(("ours", "theirs", "known"), RELIED_ON, ids=lambda v: getattr(v, "__qualname__", ""))
def test_the_source_is_the_one_that_our_code_was_written_against(ours: str, theirs: Any, known: str) -> None:
    assert fingerprint(theirs) == known, (
        f"{name_of(theirs)} has changed. Read it again beside {ours}, which overrides it or relies on it; "
        f"run tests/integration/test_transport_*.py; then put its new hash here: {fingerprint(theirs)}"
    )


if __name__ == "__main__":
    for ours_, theirs_, _ in RELIED_ON:
        print(f"{name_of(theirs_):75} {fingerprint(theirs_)}  ({ours_})")
