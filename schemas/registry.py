"""The schemas by name, version and id: from the files beside this module, or from a registry server.

The `.avsc` files are the source of truth. A file may name records of other files in its property
``leadstream.references`` (``["envelope.v1"]``); what is handed out here has them put in, so that
every text stands alone.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple

from schemas.avro_io import Parsed, canonical, parse

EVENT, OUTPUT, PART = "event", "output", "part"
IDS_FILE = "ids.json"


class SchemaError(Exception):
    """A schema file or a registry server that cannot be used; the text is for people."""


class Schema:
    """One version of one record.

    ``key`` is ``page_viewed.v1``, ``name`` the canonical event type or the output's name, ``id`` 0
    for a part that only others refer to.
    """

    def __init__(self, key: str, path: str, id_: int, resolved: dict[str, Any]) -> None:
        self.key, self.path, self.id, self.resolved = key, path, id_, resolved
        self.name, _, version = key.rpartition(".v")
        self.version = int(version)
        self.kind = (
            EVENT if "leadstream.type" in resolved else OUTPUT if "leadstream.output" in resolved else PART
        )
        self.topic: str = resolved.get("leadstream.topic", "")

    @cached_property
    def text(self) -> str:
        """The schema with its references put in, as JSON."""
        return json.dumps(self.resolved, ensure_ascii=False, separators=(",", ":"))

    @cached_property
    def lean(self) -> dict[str, Any]:
        """The schema without documentation, properties and logical types: times are plain longs."""
        lean: dict[str, Any] = strip(self.resolved)
        return lean

    @cached_property
    def parsed(self) -> Parsed:
        """``lean``, as fastavro wants it."""
        return parse(self.lean)

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever what is written changes; words and properties do not count."""
        return hashlib.sha256(canonical(self.lean).encode()).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"Schema({self.key}, id={self.id})"


class FileRegistry:
    """All schemas of a folder. Raises SchemaError, naming the file, where one cannot be used."""

    def __init__(self, root: Traversable) -> None:
        raw: dict[str, tuple[str, dict[str, Any]]] = {}
        for path, file in _schema_files(root, ""):
            key = path.rpartition("/")[2].removesuffix(".avsc")
            if key in raw:
                raise SchemaError(f"{path}: {raw[key][0]} is called the same; rename one of them")
            name, dot, version = key.rpartition(".v")
            if not (name and dot and version.isdigit() and int(version)):
                raise SchemaError(f"{path}: the name does not say the version; call it <name>.v<number>.avsc")
            try:
                raw[key] = path, json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise SchemaError(f"{path}: not JSON ({error}); mend the file") from error
        self.assigned = read_ids(root)
        self.schemas: dict[str, Schema] = {}
        by_path = {path.removesuffix(".avsc"): text for path, text in raw.values()}
        for key, (path, text) in sorted(raw.items()):
            id_ = self.assigned.get(key, (0, ""))[0]
            self.schemas[key] = Schema(key, path, id_, _resolve(path, text, by_path))
        self.by_id = {s.id: s for s in self.schemas.values() if s.id}

    def latest(self, name: str) -> Schema:
        """The newest version of an event or an output; KeyError if there is none."""
        return self._latest[name]

    @cached_property
    def _latest(self) -> dict[str, Schema]:
        newest: dict[str, Schema] = {}
        for schema in self.schemas.values():
            if schema.name not in newest or newest[schema.name].version < schema.version:
                newest[schema.name] = schema
        return newest

    def newest(self, kind: str) -> dict[str, Schema]:
        """The newest version of every event (``EVENT``) or output (``OUTPUT``), by name."""
        return {name: s for name, s in sorted(self._latest.items()) if s.kind == kind}

    def written(self) -> list[Schema]:
        """Everything that has to have an id, oldest versions first."""
        return sorted((s for s in self.schemas.values() if s.kind != PART), key=lambda s: (s.name, s.version))


@cache
def packaged() -> FileRegistry:
    """The schemas that leadstream brings along."""
    return FileRegistry(files("schemas").joinpath("avro"))


def read_ids(root: Traversable) -> dict[str, tuple[int, str]]:
    """id and fingerprint by schema key, as published in ``ids.json``."""
    file = root.joinpath(IDS_FILE)
    if not file.is_file():
        return {}
    return {
        key: (int(entry["id"]), str(entry["fingerprint"]))
        for key, entry in json.loads(file.read_text()).items()
    }


def assign_ids(root: Path) -> list[str]:
    """Give every new schema the next id in ``ids.json``; what is there is never changed.

    Returns the keys that got one.
    """
    registry = FileRegistry(root)
    entries = {k: {"id": i, "fingerprint": f} for k, (i, f) in registry.assigned.items()}
    following = max((i for i, _ in registry.assigned.values()), default=0) + 1
    added = [s for s in registry.written() if s.key not in entries]
    for number, schema in enumerate(added, start=following):
        entries[schema.key] = {"id": number, "fingerprint": schema.fingerprint}
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items())
    (root / IDS_FILE).write_text("{\n" + lines + "\n}\n", encoding="utf-8")
    return [s.key for s in added]


def strip(schema: Any) -> Any:
    """Without documentation, properties of ours and logical types."""
    if isinstance(schema, list):
        return [strip(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "logicalType" in schema and isinstance(schema["type"], str) and set(schema) <= _LOGICAL:
        return schema["type"]
    return {
        key: value if key == "default" else strip(value)
        for key, value in schema.items()
        if key not in ("doc", "logicalType") and not key.startswith("leadstream.")
    }


_LOGICAL = {"type", "logicalType", "precision", "scale", "doc"}


def _schema_files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            yield from _schema_files(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(".avsc"):
            yield prefix + entry.name, entry


def _resolve(path: str, text: dict[str, Any], by_path: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    parts: dict[str, dict[str, Any]] = {}
    for reference in text.get("leadstream.references", ()):
        if reference not in by_path:
            raise SchemaError(f"{path}: refers to {reference}, but there is no {reference}.avsc")
        part = _resolve(reference, by_path[reference], by_path)
        parts[f"{part['namespace']}.{part['name']}"] = part
    resolved = _inline(text, parts, set())
    resolved.pop("leadstream.references", None)
    return resolved  # type: ignore[no-any-return]  # _inline keeps the shape: an object gives an object


def _inline(node: Any, parts: Mapping[str, dict[str, Any]], seen: set[str]) -> Any:
    """The schema with the first mention of every part replaced by the part itself."""
    if isinstance(node, str):
        if node in parts and node not in seen:
            seen.add(node)
            return copy.deepcopy(parts[node])
        return node
    if isinstance(node, list):
        return [_inline(item, parts, seen) for item in node]
    if isinstance(node, dict):
        where = ("type", "items", "values", "fields")
        return {key: _inline(value, parts, seen) if key in where else value for key, value in node.items()}
    return node


class Snapshot(NamedTuple):
    """What a registry server knew when it was asked.

    ``texts`` holds the schema text of every id, ``guids`` that of every GUID (lower case, with
    dashes), ``own`` the server's id of our schemas, by key.
    """

    texts: Mapping[int, str]
    guids: Mapping[str, str]
    own: Mapping[str, int]


class ConfluentRegistry:
    """A client of the Confluent registry API; to be used before the first record is read.

    It blocks, so it has no place on the event loop. Subjects are named after the record
    (RecordNameStrategy), since several types share a topic. Raises SchemaError.
    """

    def __init__(self, url: str, *, username: str = "", password: str = "", timeout_s: float = 10.0) -> None:
        if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
            raise SchemaError(f"registry_url: {url!r} is no web address; give such as http://127.0.0.1:8081")
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {
            "Accept": "application/vnd.schemaregistry.v1+json, application/json",
            "Content-Type": "application/vnd.schemaregistry.v1+json",
        }
        if username:
            token = base64.b64encode(f"{username}:{password}".encode()).decode()
            self._headers["Authorization"] = f"Basic {token}"

    def register(self, schema: Schema) -> int:
        """Register one version (again: the same id) and return its id."""
        subject = f"{schema.resolved['namespace']}.{schema.resolved['name']}"
        answer = self._call("POST", f"/subjects/{_quoted(subject)}/versions", {"schema": schema.text})
        return int(answer["id"])

    def lookup(self, id_: int) -> str:
        """The text of an id, with references put in."""
        return self._resolved(self._call("GET", f"/schemas/ids/{id_}"))

    def preload(self, registry: FileRegistry) -> Snapshot:
        """Register what we write, then read everything that is there."""
        own = {schema.key: self.register(schema) for schema in registry.written()}
        texts: dict[int, str] = {}
        guids: dict[str, str] = {}
        for subject in self._call("GET", "/subjects"):
            for version in self._call("GET", f"/subjects/{_quoted(subject)}/versions"):
                answer = self._call("GET", f"/subjects/{_quoted(subject)}/versions/{version}")
                if answer.get("schemaType", "AVRO") != "AVRO":
                    continue
                texts[int(answer["id"])] = text = self._resolved(answer)
                if isinstance(answer.get("guid"), str):
                    guids[answer["guid"].lower()] = text
        for schema in registry.written():
            texts.setdefault(own[schema.key], schema.text)
        return Snapshot(texts, guids, own)

    def _resolved(self, answer: Mapping[str, Any]) -> str:
        text = str(answer["schema"])
        references = answer.get("references")
        if not references:
            return text
        parts = {}
        for reference in references:
            where = f"/subjects/{_quoted(reference['subject'])}/versions/{reference['version']}"
            parts[reference["name"]] = json.loads(self._resolved(self._call("GET", where)))
        return json.dumps(_inline(json.loads(text), parts, set()))

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        # S310: the scheme is checked in __init__.
        request = urllib.request.Request(self._url + path, data, self._headers, method=method)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:  # noqa: S310
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            said = error.read(300).decode(errors="replace")
            raise SchemaError(
                f"schema registry: {method} {self._url}{path} answered {error.code} {said}; "
                "409 means that the server's compatibility rule refuses the schema"
            ) from error
        except (OSError, ValueError) as error:
            raise SchemaError(
                f"schema registry: {method} {self._url}{path} failed ({error}); check registry_url, "
                "or leave it empty to use the ids that leadstream brings along"
            ) from error


def _quoted(name: str) -> str:
    return urllib.parse.quote(name, safe="")
