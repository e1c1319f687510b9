"""A server's configuration, read from KEY=VALUE lists, a file of them, or a plan's JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from memplan.bounds import (
    BUFFER,
    DESCRIPTORS,
    MOST_BUFFER_BYTES,
    MOST_CONNS,
    MOST_WORKERS,
    SHARE,
    SLOTS,
    check_numbers,
    check_words,
    whole,
)
from memplan.errors import UsageError
from memplan.quantity import Quantity
from memplan.slot_layout import FIELD_NAMES, SlotLayout
from memplan.units import parse_bytes, parse_duration, parse_rate
from memplan.workload import ProcessModel

_LARGEST_FILE_BYTES = 1 << 20
_NUMBERS = {
    "workers": whole(1, MOST_WORKERS),
    "conns": whole(1, MOST_CONNS),
    "max_conn": SLOTS,
    "max_fd": DESCRIPTORS,
    "slot": whole(1, MOST_BUFFER_BYTES),
    "state": BUFFER,
    "recv": BUFFER,
    "body": BUFFER,
    "write": BUFFER,
    "active_fraction": SHARE,
    "rss": whole(1, 2**63),
    "charge": whole(1, 2**63),
}
_WORDS = {"process_model": get_args(ProcessModel)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What a server is set to, as far as memory cares. None means: not said.

    Attributes:
        strategy: The slot strategy.
        workers: Listening sockets with their loops.
        conns: Connections open at the same time.
        max_conn: Slots a worker.
        max_fd: Entries of a table indexed by descriptor.
        slot: Bytes of a slot whose fields are not told apart.
        state: Bytes of a slot's parser state.
        recv: Bytes of a slot's receive buffer.
        body: Bytes of a slot's body buffer.
        write: Bytes of a slot's write buffer.
        process_model: `threads` or `processes`.
        reconnects_per_s: Connections that close and reopen each second.
        horizon_s: The time over which memory reaches its high water.
        active_fraction: Share of connections with bytes in flight.
        rss: The process's memory as measured, in bytes.
        charge: The container's charge as measured, in bytes.
        settings: What is set of the strategy's own settings, as typed.
    """

    strategy: str | None = None
    workers: int | None = None
    conns: int | None = None
    max_conn: int | None = None
    max_fd: int | None = None
    slot: int | None = None
    state: int | None = None
    recv: int | None = None
    body: int | None = None
    write: int | None = None
    process_model: str | None = None
    reconnects_per_s: float | None = None
    horizon_s: float | None = None
    active_fraction: float | None = None
    rss: int | None = None
    charge: int | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.slot is not None and any(
            part is not None for part in (self.state, self.recv, self.body, self.write)
        ):
            raise UsageError(
                "give either slot, or its fields state, recv, body and write, not both"
            )
        check_numbers(self, _NUMBERS)
        check_words(self, _WORDS)

    @property
    def says_layout(self) -> bool:
        """Whether anything is said of the slot."""
        return self.slot is not None or any(getattr(self, name) is not None for name in FIELD_NAMES)

    @property
    def layout(self) -> SlotLayout:
        """The slot: its size where given whole, else the fields that are said.

        Raises:
            UsageError: Nothing is said of the slot.
        """
        if self.slot is not None:
            return SlotLayout.opaque(self.slot)
        if not any((self.state, self.recv, self.body, self.write)):
            raise UsageError(
                "nothing is said of the slot; give slot=12KiB, or recv, body and write"
            )
        return SlotLayout.of(
            state=self.state or 0,
            recv=self.recv or 0,
            body=self.body or 0,
            write=self.write or 0,
        )

    @classmethod
    def parse(cls, text: str) -> "Configuration":
        """Return the configuration of a list such as `strategy=static,max_conn=1024,slot=12KiB`.

        Raises:
            UsageError: The text is no such list, or one of its values is wrong.
        """
        return cls.of(pairs_of(text.replace("\n", ",").split(",")))

    @classmethod
    def load(cls, source: str) -> "Configuration":
        """Return the configuration of a KEY=VALUE list, or of the file of that name.

        A file holds KEY=VALUE lines (what `--format env` writes; # begins a comment) or a plan as
        `--format json` writes it.

        Raises:
            UsageError: There is no such file, or it holds neither.
        """
        if "=" in source:
            return cls.parse(source)
        path = Path(source)
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(_LARGEST_FILE_BYTES + 1)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UsageError(
                f"'{source}' is no KEY=VALUE list and cannot be read as a file: {reason}"
            ) from None
        if len(text) > _LARGEST_FILE_BYTES:
            raise UsageError(f"'{source}' is larger than any configuration")
        if text.lstrip().startswith("{"):
            return cls.of(_settings_of_plan(text, source))
        lines = (line.split("#", 1)[0].strip() for line in text.splitlines())
        return cls.of(pairs_of(line.removeprefix("export ") for line in lines))

    @classmethod
    def of(cls, pairs: Mapping[str, str]) -> "Configuration":
        """Return the configuration of texts by key; keys of no field are the strategy's settings.

        Raises:
            UsageError: A value is wrong.
        """
        known: dict[str, Any] = {}
        own: dict[str, str] = {}
        for key, value in pairs.items():
            parse = _PARSERS.get(key)
            if key in _WITHOUT_MEMORY:
                continue
            if parse is None:
                own[key] = value
                continue
            field_name = _ALIASES.get(key, key)
            if field_name in known:
                same = " and ".join(one for one in pairs if _ALIASES.get(one, one) == field_name)
                raise UsageError(f"{same} are the same: give one of them")
            try:
                known[field_name] = parse(value)
            except UsageError as error:
                raise UsageError(f"{key}: {error}") from None
        return cls(**known, settings=own)

    def over(self, other: "Configuration", *, but: tuple[str, ...] = ()) -> "Configuration":
        """Return this configuration with what it does not say taken from another.

        Args:
            other: Where the rest comes from.
            but: Fields that stay unsaid.
        """
        said = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) is not None and f.name != "settings"
        }
        theirs = {
            f.name: getattr(other, f.name)
            for f in fields(other)
            if f.name not in {"settings", *but}
        }
        if "slot" in said:
            theirs.update(state=None, recv=None, body=None, write=None)
        elif said.keys() & {"state", "recv", "body", "write"}:
            theirs["slot"] = None
        settings = {**other.settings, **self.settings}
        if self.strategy not in {None, other.strategy}:
            # Another strategy has other settings; those of the old one mean nothing to it.
            settings = dict(self.settings)
        return Configuration(**{**theirs, **said}, settings=settings)

    def to_dict(self) -> dict[str, Any]:
        """Return what is said, by key."""
        said = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"}
        return {name: value for name, value in said.items() if value is not None} | dict(
            self.settings
        )


def _whole(text: str) -> int:
    try:
        value = int(text.replace("_", ""))
    except ValueError:
        raise UsageError(f"'{text}' is no whole number") from None
    if value < 0:
        raise UsageError(f"'{text}' is negative")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"'{text}' is no share; write 0.05") from None
    if not 0 <= value <= 1:
        raise UsageError(f"'{text}' is no share; it must lie between 0 and 1")
    return value


_PARSERS: dict[str, Any] = {
    "strategy": str,
    "workers": _whole,
    "conns": _whole,
    "max_conn": _whole,
    "max_fd": _whole,
    "slot": parse_bytes,
    "state": parse_bytes,
    "recv": parse_bytes,
    "body": parse_bytes,
    "write": parse_bytes,
    "process_model": str,
    "reconnect_rate": parse_rate,
    "reconnects_per_s": parse_rate,
    "horizon": parse_duration,
    "horizon_s": parse_duration,
    "active": _share,
    "rss": parse_bytes,
    "charge": parse_bytes,
    "active_fraction": _share,
}
_WITHOUT_MEMORY = frozenset({"nofile", "memory_high", "memory_max"})
"""What our own exports set beside these: limits, which take no memory."""
_ALIASES = {
    "reconnect_rate": "reconnects_per_s",
    "horizon": "horizon_s",
    "active": "active_fraction",
}


def pairs_of(parts: Iterable[str]) -> dict[str, str]:
    """Return the KEY=VALUE texts as a mapping; empty texts are none.

    Raises:
        UsageError: A text is no KEY=VALUE, or a key is given twice.
    """
    pairs: dict[str, str] = {}
    for part in parts:
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        name = key.strip().lower().replace("-", "_")
        if not equals or not name or not value.strip():
            raise UsageError(f"'{part.strip()}' is not KEY=VALUE")
        if name in pairs:
            raise UsageError(f"{name} is given twice")
        pairs[name] = value.strip().strip("\"'")
    return pairs


def _settings_of_plan(text: str, source: str) -> dict[str, str]:
    import json

    try:
        plan = json.loads(text)
        settings = {s["name"]: str(s["value"]) for s in plan["settings"]}
        workload = plan["workload"]
        settings["conns"] = f"{_middle(workload['conns']):.0f}"
        for name in (
            "workers",
            "process_model",
            "reconnects_per_s",
            "horizon_s",
            "active_fraction",
        ):
            if workload[name] is not None:
                settings[name] = str(workload[name])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, UsageError):
        raise UsageError(
            f"'{source}' is no plan that `memplan recommend --format json` wrote"
        ) from None
    if settings.keys() & set(FIELD_NAMES):
        # The whole slot stands beside its fields, for people; here the fields say it all.
        settings.pop("slot", None)
    return settings


def _middle(conns: Any) -> float:  # noqa: ANN401 - what JSON held
    """Return the connections that a plan's memory was reckoned at: quantiles at their middle."""
    if isinstance(conns, dict):
        return Quantity.quantiles({float(name[1:]) / 100: conns[name] for name in conns}).median
    return float(conns)
