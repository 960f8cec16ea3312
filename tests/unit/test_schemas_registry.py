"""The file registry, the published ids and the client of a registry server."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import pytest

from schemas import registry, vocabulary
from schemas.registry import ConfluentRegistry, FileRegistry, SchemaError, assign_ids, packaged


def copied(folder: Path) -> Path:
    """A copy of the packaged schemas that a test may spoil."""
    with as_file(files("schemas").joinpath("avro")) as source:
        return Path(shutil.copytree(source, folder / "avro"))


def test_every_text_stands_alone() -> None:
    for schema in packaged().written():
        text = json.loads(schema.text)
        assert "leadstream.references" not in text
        assert schema.parsed is not None
        assert text["fields"]


def test_ids_are_complete_and_found_by_number() -> None:
    written = packaged().written()

    assert sorted(s.id for s in written) == list(range(1, len(written) + 1))
    assert all(packaged().by_id[s.id] is s for s in written)


def test_published_ids_stay() -> None:
    """Ids are in records on brokers. If this fails, an id was changed: undo that, ids are only added."""
    first = sorted((i, key) for key, (i, _) in packaged().assigned.items())[:78]

    digest = hashlib.sha256(repr(first).encode()).hexdigest()[:16]
    assert digest == "7558a6d425ed15ba"


def test_assigning_ids_appends_and_changes_nothing(tmp_path: Path) -> None:
    root = copied(tmp_path)
    before = registry.read_ids(root)
    assert assign_ids(root) == []
    assert (root / "ids.json").read_text() == files("schemas").joinpath("avro/ids.json").read_text()
    text = json.loads((root / "lead/erased.v1.avsc").read_text()) | {"leadstream.version": 2}
    (root / "lead/erased.v2.avsc").write_text(json.dumps(text))

    assert assign_ids(root) == ["erased.v2"]
    assert registry.read_ids(root) == before | {"erased.v2": (len(before) + 1, before["erased.v1"][1])}
    assert FileRegistry(root).latest("erased").version == 2


@pytest.mark.parametrize(
    ("path", "text", "words"),
    [
        ("lead/x.v1.avsc", "{", "not JSON"),
        ("lead/x.avsc", "{}", "does not say the version"),
        ("lead/x.v0.avsc", "{}", "does not say the version"),
        ("deal/erased.v1.avsc", "{}", "called the same"),
        ("lead/x.v1.avsc", '{"leadstream.references": ["envelope.v9"]}', "envelope.v9"),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path: Path, path: str, text: str, words: str) -> None:
    root = copied(tmp_path)
    (root / path).write_text(text)

    with pytest.raises(SchemaError, match=words) as caught:
        FileRegistry(root)
    assert "x." in str(caught.value) or "erased" in str(caught.value)


def test_the_vocabulary_is_that_of_the_domain() -> None:
    assert {family: len(names) for family, names in vocabulary.OF_FAMILY.items()} == {
        "engagement": 17, "lead": 25, "deal": 10, "customer": 11, "market": 5, "reference": 8,
    }  # fmt: skip
    assert len(vocabulary.NAMES) == 76
    assert vocabulary.topic_of("churned") == "deal.events.v1"
    assert vocabulary.topic_of("merged") == "lead.events.v1"
    assert vocabulary.topic_of("handoff") == "lead.handoffs.v1"
    assert vocabulary.EVENTS["rejected"].required == ("reason_code",)
    assert vocabulary.EVENTS["rejected"].optional == ("notes", "handoff_id")
    assert vocabulary.EVENTS["churned"].subject_kind == "account"
    with pytest.raises(KeyError):
        vocabulary.topic_of("fax_received")


# -- a registry server, as small as it gets


class _Server(BaseHTTPRequestHandler):
    texts: list[dict[str, Any]]
    refuse = False

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("/")
        match parts:
            case ["subjects"]:
                self._answer(sorted({t["subject"] for t in self.texts}))
            case ["subjects", subject, "versions"]:
                self._answer([t["version"] for t in self.texts if t["subject"] == subject])
            case ["subjects", subject, "versions", version]:
                self._answer(
                    next(t for t in self.texts if (t["subject"], str(t["version"])) == (subject, version))
                )
            case ["schemas", "ids", id_]:
                self._answer(next((t for t in self.texts if t["id"] == int(id_)), None))
            case _:
                self._answer(None)

    def do_POST(self) -> None:
        subject = self.path.split("/")[2]
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["schema"]
        if self.refuse:
            self._answer(None, 409)
            return
        for known in self.texts:
            if (known["subject"], known["schema"]) == (subject, text):
                self._answer({"id": known["id"]})
                return
        version = 1 + sum(t["subject"] == subject for t in self.texts)
        self.texts.append(
            {"subject": subject, "version": version, "id": 100 + len(self.texts), "schema": text}
        )
        self._answer({"id": self.texts[-1]["id"]})

    def _answer(self, body: object, status: int = 200) -> None:
        data = json.dumps(body).encode()
        self.send_response(status if body is not None or status != 200 else 404)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Server]]]:
    handler = type("Handler", (_Server,), {"texts": []})
    http = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{http.server_port}/", handler
    http.shutdown()
    thread.join()
    http.server_close()


def test_registering_twice_gives_the_same_ids_and_all_is_read_back(server: tuple[str, type[_Server]]) -> None:
    client = ConfluentRegistry(server[0])

    snapshot = client.preload(packaged())

    assert set(snapshot.own) == {s.key for s in packaged().written()}
    assert client.preload(packaged()).own == snapshot.own
    page = packaged().latest("page_viewed")
    assert snapshot.texts[snapshot.own["page_viewed.v1"]] == page.text
    assert client.lookup(snapshot.own["page_viewed.v1"]) == page.text


def test_references_guids_and_other_kinds_of_schema_are_read(server: tuple[str, type[_Server]]) -> None:
    part = {"type": "record", "name": "Part", "namespace": "n", "fields": [{"name": "a", "type": "long"}]}
    whole = {
        "type": "record",
        "name": "Whole",
        "fields": [{"name": "p", "type": "n.Part"}, {"name": "q", "type": "n.Part"}],
    }
    server[1].texts += [
        {"subject": "part", "version": 1, "id": 1, "schema": json.dumps(part), "guid": "ABC"},
        {"subject": "whole", "version": 1, "id": 2, "schema": json.dumps(whole),
         "references": [{"name": "n.Part", "subject": "part", "version": 1}]},
        {"subject": "proto", "version": 1, "id": 3, "schema": "message P {}", "schemaType": "PROTOBUF"},
    ]  # fmt: skip

    snapshot = ConfluentRegistry(server[0]).preload(packaged())

    assert json.loads(snapshot.texts[2])["fields"] == [
        {"name": "p", "type": part},
        {"name": "q", "type": "n.Part"},
    ]
    assert snapshot.guids == {"abc": json.dumps(part)}
    assert 3 not in snapshot.texts


def test_a_server_that_refuses_or_is_not_there_is_told(server: tuple[str, type[_Server]]) -> None:
    server[1].refuse = True
    with pytest.raises(SchemaError, match="409"):
        ConfluentRegistry(server[0], username="u", password="p").preload(packaged())
    with pytest.raises(SchemaError, match="404"):
        ConfluentRegistry(server[0]).lookup(5)
    with pytest.raises(SchemaError, match="check registry_url"):
        ConfluentRegistry("http://127.0.0.1:1").lookup(5)
    with pytest.raises(SchemaError, match="no web address"):
        ConfluentRegistry("file:///etc/passwd")
