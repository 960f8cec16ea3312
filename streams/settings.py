"""Settings: every knob of leadstream, in one place; from defaults, a TOML file and the environment.

The environment wins over the file, the file over the default. A field of `Settings` carries its own
documentation, unit and limits, so ``leadstream settings``, the error messages and the reference page
are all made from it.
"""

from __future__ import annotations

import difflib
import fcntl
import os
import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_type_hints

import msgspec
from msgspec import Meta, Struct

ENV_PREFIX = "LEADSTREAM_"
CONFIG_ENV = "LEADSTREAM_CONFIG"
#: Variables of the family that are not settings: where the file is, where the local Kafka is kept, where
#: the real data for tests lie.
_NOT_SETTINGS = (CONFIG_ENV, "LEADSTREAM_CACHE", "LEADSTREAM_DATA")
DEFAULT_FILE = "leadstream.toml"
#: Settings of the demo that runs in this folder, used where nothing else is configured; the demo holds a
#: lock as long as it lives, so that the settings of one that was killed mislead nobody.
DEMO_FILE = Path(".leadstream/demo.toml")
DEMO_LOCK = Path(".leadstream/demo.lock")
TABLE = "subjects"
MASK = "********"

#: Topics that a task reads (keys of `Topics`); they are co-partitioned with each other and the table.
SOURCES = ("engagement", "lead", "deal", "inbox")
#: Topics that are read beside the tasks: by every worker, or by one of them.
SIDE_INPUTS = ("market", "reference")
#: Topics that are written for subscribers.
ALL_OUTPUTS = ("stage_changes", "handoffs", "sla", "nurture", "handovers", "restatements", "dead_letters")

_NAME = re.compile(r"[A-Za-z0-9._-]*")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SettingsError(Exception):
    """Settings that cannot be used: one line per mistake, with its place and the remedy."""


class Topics(Struct, frozen=True, kw_only=True):
    """The names of the topics, with the prefix of the deployment."""

    engagement: str = "engagement.events.v1"
    lead: str = "lead.events.v1"
    deal: str = "deal.events.v1"
    inbox: str = "leadstream.inbox.v1"
    market: str = "market.events.v1"
    reference: str = "reference.events.v1"
    stage_changes: str = "lead.stage-changes.v1"
    handoffs: str = "lead.handoffs.v1"
    sla: str = "lead.sla.v1"
    nurture: str = "lead.nurture.v1"
    handovers: str = "customer.handovers.v1"
    restatements: str = "funnel.restatements.v1"
    dead_letters: str = "leadstream.dead-letters.v1"

    @classmethod
    def prefixed(cls, prefix: str) -> Topics:
        plain = cls()
        return cls(**{field: prefix + getattr(plain, field) for field in cls.__struct_fields__})

    def named(self, *fields: str) -> tuple[str, ...]:
        """The names of some topics by their keys, e.g. ``topics.named(*SOURCES)``."""
        return tuple(getattr(self, field) for field in fields)

    def field_of(self, name: str) -> str | None:
        """The key of a topic by its name, or by its name without the prefix."""
        plain = Topics()
        for field in self.__struct_fields__:
            if name in (getattr(self, field), getattr(plain, field), field):
                return field
        return None


def _doc(text: str, unit: str = "", *, secret: bool = False, **limits: Any) -> Meta:
    return Meta(description=text, extra={"unit": unit, "secret": secret}, **limits)


class Settings(Struct, frozen=True, kw_only=True):
    """What a deployment may choose. Load it with `load`; the metadata of each field is its documentation."""

    bootstrap: Annotated[
        str, _doc("Kafka brokers to ask first, host:port, comma-separated", min_length=1)
    ] = "127.0.0.1:9092"
    app_id: Annotated[
        str,
        _doc(
            "Consumer group, prefix of the changelog and of transactional ids",
            pattern=r"^[A-Za-z0-9._-]{1,80}$",
        ),
    ] = "leadstream"
    topic_prefix: Annotated[
        str,
        _doc("Put before every topic name, as it is (write the dot yourself)", pattern=r"^[A-Za-z0-9._-]*$"),
    ] = ""
    partitions: Annotated[
        int,
        _doc(
            "Partitions of the inputs, the inbox and the table; fixed for the life of a deployment",
            ge=1,
            le=10000,
        ),
    ] = 8
    replication: Annotated[
        int, _doc("Replication factor of created topics; 3 in production", ge=1, le=15)
    ] = 1
    min_isr: Annotated[int, _doc("min.insync.replicas of created topics; 2 in production", ge=1, le=15)] = 1
    clock: Annotated[
        str,
        _doc(
            '"wall"; "fixed:2026-11-22T10:00:00Z" for imports and comparisons at one instant; for simulations '
            '"scaled:START@WALLxFACTOR": START when the wall clock shows WALL (both ISO), then FACTOR times as fast'
        ),
    ] = "wall"
    definition: Annotated[
        str, _doc("Path of a definition (TOML); empty: the packaged default. Published ones come on top")
    ] = ""
    web_host: Annotated[str, _doc("Address of /metrics, /livez, /readyz", min_length=1)] = "127.0.0.1"
    web_port: Annotated[int, _doc("Port of /metrics, /livez, /readyz; 0: any free one", ge=0, le=65535)] = (
        8600
    )
    data_dir: Annotated[
        str, _doc("Folder for what a worker keeps on disk (not the state: that is in Kafka)")
    ] = ".leadstream"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _doc("Least severe log line shown")
    ] = "info"
    instance_id: Annotated[
        str,
        _doc(
            "group.instance.id, for static membership: a restarted worker gets its partitions back at once",
            pattern=r"^[A-Za-z0-9._-]*$",
        ),
    ] = ""
    session_timeout_s: Annotated[
        float, _doc("A worker unheard of for this long loses its partitions", "s", ge=1, le=1800)
    ] = 10.0
    transaction_timeout_s: Annotated[
        float, _doc("The broker aborts a transaction that stays open this long", "s", ge=1, le=900)
    ] = 10.0
    cpu_share: Annotated[
        float,
        _doc("Share of a core that polling may cost when little arrives; less means later", ge=0.01, le=1),
    ] = 0.1
    longest_wait_ms: Annotated[
        int, _doc("Longest time that the broker holds a fetch to fill it", "ms", ge=0, le=10000)
    ] = 250
    min_bytes: Annotated[
        int, _doc("A fetch that has this much is answered at once", "bytes", ge=1, le=50_000_000)
    ] = 16384
    max_poll_records: Annotated[int, _doc("Most records of one poll", "records", ge=1, le=100_000)] = 4000
    max_batch_records: Annotated[
        int, _doc("Most records of one transaction of a task", "records", ge=1, le=100_000)
    ] = 4000
    slice_ms: Annotated[
        int, _doc("Longest stretch of work before heartbeats and HTTP get their turn", "ms", ge=1, le=1000)
    ] = 50
    tick_ms: Annotated[int, _doc("How often a task looks for due timers", "ms", ge=10, le=60_000)] = 200
    standbys: Annotated[int, _doc("Standby replicas of the table", ge=0, le=14)] = 0
    stuck_limit_s: Annotated[
        float, _doc("A task without progress for this long makes /livez fail", "s", ge=1, le=86_400)
    ] = 60.0
    on_fold_error: Annotated[
        Literal["dead-letter", "stop"], _doc("What an exception in the fold of one subject leads to")
    ] = "dead-letter"
    flood_guard: Annotated[
        Literal["on", "off"],
        _doc(
            "Hold new handoffs back beyond the definition's flood_min and flood_factor; off: while importing or rebuilding"
        ),
    ] = "on"
    registry_url: Annotated[
        str, _doc("Schema registry with the Confluent API; empty: ids come from the packaged schemas")
    ] = ""
    security_protocol: Annotated[
        Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], _doc("How to speak to the brokers")
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], _doc("How to log in, with SASL_*")
    ] = ""
    sasl_username: Annotated[str, _doc("Who logs in, with SASL_*")] = ""
    sasl_password: Annotated[str, _doc("The password; better by environment than by file", secret=True)] = ""
    ssl_cafile: Annotated[str, _doc("CA certificates (PEM) to trust; empty: those of the system")] = ""
    privacy_key: Annotated[
        str,
        _doc(
            "Key of the hashes that `privacy hash` makes of addresses; better by environment than by file",
            secret=True,
        ),
    ] = ""
    dead_letter_max_bytes: Annotated[
        int,
        _doc(
            "A larger record becomes a dead letter by position, hash and beginning",
            "bytes",
            ge=1024,
            le=10_000_000,
        ),
    ] = 900_000
    ready_file: Annotated[
        str, _doc("Written once the worker is ready, and at each change: url, pid, partitions (JSON)")
    ] = ""

    @property
    def topics(self) -> Topics:
        return Topics.prefixed(self.topic_prefix)

    @property
    def changelog(self) -> str:
        """The topic that the table is restored from (Faust's naming)."""
        return f"{self.app_id}-{TABLE}-changelog"

    @property
    def fixed_now_ms(self) -> int | None:
        """The instant of a fixed clock (epoch ms), None for another clock."""
        kind, _, text = self.clock.partition(":")
        return _instant_ms(text) if kind == "fixed" else None

    @property
    def scale(self) -> Scale | None:
        """How a scaled clock runs, None for another clock."""
        kind, _, text = self.clock.partition(":")
        return _scale(text) if kind == "scaled" else None

    def security(self) -> dict[str, str]:
        """Security options of kafka-python (aiokafka takes the same names, but an ssl_context)."""
        options: dict[str, str] = {"security_protocol": self.security_protocol}
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.sasl_username
            options["sasl_plain_password"] = self.sasl_password
        if self.security_protocol.endswith("SSL") and self.ssl_cafile:
            options["ssl_cafile"] = self.ssl_cafile
        return options


class Scale(NamedTuple):
    """A clock that shows ``start_ms`` at ``wall_start_ms`` and then runs ``factor`` times as fast as the wall's."""

    start_ms: int
    wall_start_ms: int
    factor: Fraction


class Field(NamedTuple):
    """The documentation of one setting."""

    name: str
    env: str
    default: object
    doc: str
    unit: str
    secret: bool
    type: Any


class Loaded(NamedTuple):
    """Settings, and for each field where its value came from: default, file:<path> or env:<NAME>."""

    settings: Settings
    origin: Mapping[str, str]
    file: Path | None


def fields() -> tuple[Field, ...]:
    """All settings in the order of their documentation."""
    hints = get_type_hints(Settings, include_extras=True)
    found = []
    for info in msgspec.structs.fields(Settings):
        meta: Meta = hints[info.name].__metadata__[0]
        extra = meta.extra or {}
        found.append(
            Field(
                info.name,
                ENV_PREFIX + info.name.upper(),
                info.default,
                meta.description or "",
                extra.get("unit", ""),
                extra.get("secret", False),
                hints[info.name],
            )
        )
    return tuple(found)


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from a file (``path``, else LEADSTREAM_CONFIG, else ./leadstream.toml) and the environment.

    Where there is neither, those of the demo that runs in this folder.

    :raises SettingsError: unknown names and bad values, all of them, one line each.
    """
    return load_with_origin(path, environ).settings


def load_with_origin(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Loaded:
    """As `load`, and where each value came from."""
    env = os.environ if environ is None else environ
    by_name = {field.name: field for field in fields()}
    by_env = {field.env: field for field in by_name.values()}
    file, table = _read_file(path, env)
    if file is None and environ is None and by_env.keys().isdisjoint(env) and demo_runs():
        file, table = _read_file(DEMO_FILE, env)
    values: dict[str, Any] = {}
    origin = dict.fromkeys(by_name, "default")
    mistakes: list[str] = []

    for name, value in table.items():
        if name not in by_name:
            mistakes.append(f"{file}: unknown setting {name!r}; {_advice(name, by_name)}")
            continue
        _take(by_name[name], value, f"{file}: {name}", values, mistakes, strict=True)
        origin[name] = f"file:{file}"
    for variable in sorted(env):
        if not variable.startswith(ENV_PREFIX) or variable in _NOT_SETTINGS:
            continue
        if variable not in by_env:
            mistakes.append(f"environment: unknown setting {variable}; {_advice(variable, by_env)}")
            continue
        field = by_env[variable]
        _take(field, env[variable], variable, values, mistakes, strict=False)
        origin[field.name] = f"env:{variable}"
    if not mistakes:
        settings = Settings(**values)
        mistakes = _contradictions(settings)
        if not mistakes:
            return Loaded(settings, origin, file)
    raise SettingsError("\n".join(mistakes))


def demo_runs() -> bool:
    """Whether a demo runs in this folder, and is so far that there is something to connect to."""
    if not DEMO_FILE.is_file():
        return False
    try:
        with DEMO_LOCK.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def shown(field: Field, settings: Settings) -> object:
    """A value as it may be printed: secrets masked."""
    value = getattr(settings, field.name)
    return MASK if field.secret and value else value


def _read_file(path: Path | None, env: Mapping[str, str]) -> tuple[Path | None, dict[str, Any]]:
    asked = path or (Path(env[CONFIG_ENV]) if env.get(CONFIG_ENV) else None)
    if asked is None:
        if not Path(DEFAULT_FILE).is_file():
            return None, {}
        asked = Path(DEFAULT_FILE)
    try:
        return asked, tomllib.loads(asked.read_text(encoding="utf-8"))
    except FileNotFoundError:
        by = "--config" if path else CONFIG_ENV
        raise SettingsError(f"{asked}: no such settings file; correct {by}, or leave it out") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{asked}: cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{asked}: not valid TOML: {error}") from None


def _take(
    field: Field, value: object, place: str, values: dict[str, Any], mistakes: list[str], *, strict: bool
) -> None:
    if isinstance(value, str) and not strict:
        value = value.strip()
    try:
        values[field.name] = msgspec.convert(value, field.type, strict=strict)
    except msgspec.ValidationError as error:
        given = MASK if field.secret else repr(value)
        mistakes.append(f"{place} = {given}: {error}; {field.doc} (default {field.default!r})")


def _advice(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else "`leadstream settings` lists all of them"


def _contradictions(settings: Settings) -> list[str]:
    found = []
    if problem := _clock_problem(settings.clock):
        found.append(f"clock = {settings.clock!r}: {problem}")
    if settings.min_isr > settings.replication:
        found.append(
            f"min_isr = {settings.min_isr} is more than replication = {settings.replication}: "
            f"nothing could ever be written; lower min_isr or raise replication"
        )
    sasl = settings.security_protocol.startswith("SASL")
    if sasl and not (settings.sasl_mechanism and settings.sasl_username and settings.sasl_password):
        found.append(
            f"security_protocol = {settings.security_protocol!r} needs sasl_mechanism, sasl_username "
            f"and sasl_password"
        )
    if not sasl and (settings.sasl_mechanism or settings.sasl_username):
        found.append(
            f"sasl_* is set, but security_protocol = {settings.security_protocol!r} does not log in; "
            f'set security_protocol = "SASL_SSL" (or "SASL_PLAINTEXT")'
        )
    if settings.ssl_cafile and not Path(settings.ssl_cafile).is_file():
        found.append(f"ssl_cafile = {settings.ssl_cafile!r}: no such file; name CA certificates in PEM form")
    for part in settings.bootstrap.split(","):
        host, _, port = part.strip().rpartition(":")
        if not host or not port.isdigit():
            found.append(f"bootstrap = {settings.bootstrap!r}: {part.strip()!r} is not host:port")
    if settings.tick_ms > settings.stuck_limit_s * 1000:
        found.append(f"tick_ms = {settings.tick_ms} is longer than stuck_limit_s = {settings.stuck_limit_s}")
    return found


def _clock_problem(clock: str) -> str:
    """What is wrong with a clock and how to write it; "" if nothing is."""
    kind, _, text = clock.partition(":")
    try:
        if kind == "fixed":
            _instant_ms(text)
        elif kind == "scaled":
            _scale(text)
        elif clock != "wall":
            return 'write "wall", "fixed:" and an ISO instant, or "scaled:START@WALLxFACTOR"'
    except ValueError as error:
        example = "fixed:2026-11-22T10:00:00Z"
        if kind == "scaled":
            example = "scaled:2026-11-23T08:00:00Z@2026-11-22T10:00:00Zx600"
        return f'{error}; write each ISO instant with its zone, e.g. "{example}"'
    return ""


def _scale(text: str) -> Scale:
    """:raises ValueError: it is not START@WALLxFACTOR."""
    start, at, rest = text.partition("@")
    wall, by, factor = rest.rpartition("x")
    if not at or not by:
        raise ValueError(f"{text!r} is not START@WALLxFACTOR")
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", factor) or not (scale := Fraction(factor)):
        raise ValueError(f"the factor {factor!r} is not a number above 0 and below 1000000")
    return Scale(_instant_ms(start), _instant_ms(wall), scale)


def _instant_ms(text: str) -> int:
    instant = datetime.fromisoformat(text)
    if instant.tzinfo is None:
        raise ValueError(f"the instant {text!r} has no zone")
    return (instant - _EPOCH) // timedelta(milliseconds=1)
