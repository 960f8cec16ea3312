"""How `processors/words.py` was made: a zstd dictionary of what rows of any deployment have in common.

``python -m bench.dictionary > words.py`` trains another one on simulated leads and deals, so it knows the skeleton of a row, the
default definition's words and common ones of marketing, and nobody's data. One that rows were ever stored with must stay as
it is: a better one comes beside it, with a layout of its own (`processors.model`).
"""

from __future__ import annotations

import sys
from base64 import b85encode

from zstandard import train_dictionary

from bench.traffic import made, topic
from processors.model import unpacked
from streams.definitions import base_definition
from streams.driver import Driver
from streams.settings import Settings
from streams.topology import LeadTopology
from streams.work import Record

EVENTS, STEPS, BYTES = 60_000, 3, 8192
_COLUMNS = 110


def samples() -> list[bytes]:
    """Rows of leads, deals and accounts at several times of a simulated past; visitors' are too short to learn from."""
    settings = Settings(partitions=8)
    topology = LeadTopology(settings, base_definition(settings))
    driver = Driver(topology, live=False)
    reference: list[Record] = []
    found: list[bytes] = []
    for n, m in enumerate(made(EVENTS), 1):
        name = topic(settings, m.field)
        if m.field == "reference":
            reference.append(Record(name, 0, len(reference), m.at_ms, m.key, m.value))
        else:
            driver.publish(name, m.key, m.value, timestamp_ms=m.at_ms)
            driver.now_ms = m.at_ms
        if n % (EVENTS // STEPS) == 0:
            topology.learn(reference)
            reference = []
            driver.live = False
            driver.run()
            driver.catch_up()
            found += [bytes(unpacked(row)) for key, row in driver.all_rows() if key[:1] != b"a"]
    return found


def main() -> None:
    text = b85encode(train_dictionary(BYTES, samples()).as_bytes()).decode()
    lines = [text[at : at + _COLUMNS] for at in range(0, len(text), _COLUMNS)]
    sys.stdout.write(
        '"""A zstd dictionary, in base 85, that stored rows are packed with; made once by ``bench/dictionary.py``."""\n\n'
        "WORDS = (\n" + "".join(f"    {line!r}\n" for line in lines) + ")\n"
    )


if __name__ == "__main__":
    main()
