"""Where a connection's bytes live: the strategies, what they are asked, and what they answer.

A strategy is a small class. The three built-in ones are found by name without reading any
package's metadata; a user's own is registered in the entry point group `memplan.slot_strategies`
and found when it is asked for. docs/custom_strategy.md shows a whole one.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import import_module
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
)

from memplan.constraint import Constraint
from memplan.errors import UsageError
from memplan.slot_layout import PAGE_BYTES, SlotField, SlotLayout, Used
from memplan.slot_limits import (
    HostLimits,
    descriptors_of,
    mappings_limit,
    nofile_limit,
    overcommit_limit,
)
from memplan.slot_load import CountLaw, SlotLoad, SlotShape
from memplan.slot_pages import PackedSlots, PageCount, packed_pages
from memplan.units import parse_bytes
from memplan.workload import ProcessModel

if TYPE_CHECKING:
    from memplan.strategies.model import SlotModel
    from memplan.strategies.realisation import Realisation

__all__ = [
    "PAGE_BYTES",
    "Constraint",
    "CountLaw",
    "Footprint",
    "HostLimits",
    "PackedSlots",
    "PageCount",
    "SlotField",
    "SlotLayout",
    "SlotLoad",
    "SlotShape",
    "SlotStrategy",
    "Used",
    "descriptors_of",
    "find_strategy",
    "packed_pages",
    "strategy_names",
]

ENTRY_POINT_GROUP = "memplan.slot_strategies"

_BUILT_IN = {
    "static": "memplan.strategies.static:StaticStrategy",
    "fd": "memplan.strategies.fd:FdStrategy",
    "pooled": "memplan.strategies.pooled:PooledStrategy",
}

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The memory that a strategy takes for a load.

    Attributes:
        virtual_bytes: Address space of slots, pools and tables, over all processes.
        table_bytes: The part of it that is a table indexed by descriptor.
        largest_mapping_bytes: The largest single piece of it.
        now: Pages resident once all connections have been opened, before any has closed.
        high_water: Pages resident at the end of the horizon, with its churn.
        idle_conn_bytes: Resident bytes of one more connection with nothing in flight.
        active_conn_bytes: Resident bytes of one more connection with bytes in flight.
        mappings: Mappings of the slots in one process, expected.
        mappings_worst: The same once every other connection has closed, the most that closing can
            split. Memory that was first written apart can keep a few more: see docs/slots.md.
        trimmable_bytes: Of the high water, what lies behind the last slot in use and so could be
            given back (madvise) without moving a connection; expected, or a lower bound of that.
    """

    virtual_bytes: int
    table_bytes: int
    largest_mapping_bytes: int
    now: PageCount
    high_water: PageCount
    idle_conn_bytes: float
    active_conn_bytes: float
    mappings: float = 1.0
    mappings_worst: int = 1
    trimmable_bytes: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, page counts as distributions in bytes."""
        return {
            "virtual_bytes": self.virtual_bytes,
            "table_bytes": self.table_bytes,
            "largest_mapping_bytes": self.largest_mapping_bytes,
            "now": self.now.to_dict(),
            "high_water": self.high_water.to_dict(),
            "idle_conn_bytes": self.idle_conn_bytes,
            "active_conn_bytes": self.active_conn_bytes,
            "mappings": self.mappings,
            "mappings_worst": self.mappings_worst,
            "trimmable_bytes": self.trimmable_bytes,
        }


class SlotStrategy(ABC, Generic[Settings]):
    """A way to place connections in memory; subclass it and register the class by name.

    Attributes:
        name: The name that it is asked for by.
        summary: What it does, in one line.
        settings_type: A frozen dataclass whose every field has a default: the strategy's own
            settings. Fields are int, float, bool, str or Literal, each perhaps None; an int whose
            name ends in `_bytes` is typed as a size.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    settings_type: ClassVar[type]

    @abstractmethod
    def footprint(
        self, load: SlotLoad, layout: SlotLayout, settings: Settings | None = None
    ) -> Footprint:
        """Return the memory that the load takes in slots of this layout.

        Args:
            load: How many connections there are and what they write.
            layout: The slot.
            settings: The strategy's own settings; its defaults where not given.
        """

    def limits(
        self,
        load: SlotLoad,
        layout: SlotLayout,
        host: HostLimits,
        settings: Settings | None = None,
    ) -> tuple[Constraint, ...]:
        """Return the limits that the strategy runs into on a machine.

        Args:
            load: The load.
            layout: The slot.
            host: What the machine allows.
            settings: The strategy's own settings; its defaults where not given.
        """
        footprint = self.footprint(load, layout, settings)
        return (
            nofile_limit(load, host),
            mappings_limit(load, host, footprint.mappings_worst, self.fragments_detail),
            *overcommit_limit(
                host,
                virtual_bytes=footprint.virtual_bytes,
                largest_mapping_bytes=footprint.largest_mapping_bytes,
            ),
        )

    fragments_detail: ClassVar[str] = "they are never split"

    def model(
        self,
        layout: SlotLayout,  # noqa: ARG002 - for those that override this
        shape: SlotShape,  # noqa: ARG002
        settings: Settings | None = None,  # noqa: ARG002
    ) -> "SlotModel":
        """Return the strategy as a pure model: connections come and go, pages are counted.

        Args:
            layout: The slot.
            shape: How many there are.
            settings: The strategy's own settings; its defaults where not given.

        Raises:
            UsageError: The strategy has none.
        """
        raise UsageError(f"the strategy {self.name} cannot be laid out: it has no model()")

    def realise(
        self,
        layout: SlotLayout,
        *,
        workers: int,
        max_conn: int,
        max_fd: int | None = None,
        process_model: ProcessModel = "threads",
        settings: Settings | None = None,
    ) -> "Realisation":
        """Return a context manager that lays the slots out in this process, for real.

        Inside it, connections are accepted, touched and closed as in the model, and the pages that
        the kernel holds resident for them stand beside those that the model predicts.

        Args:
            layout: The slot.
            workers: Workers.
            max_conn: Slots a worker.
            max_fd: Entries of a table indexed by descriptor; None makes it large enough.
            process_model: Workers as threads of one process, or as processes.
            settings: The strategy's own settings; its defaults where not given.
        """
        import mmap

        from memplan.strategies.realisation import Realisation

        shape = SlotShape(
            workers=workers,
            max_conn=max_conn,
            max_fd=max_fd,
            process_model=process_model,
            page_bytes=mmap.PAGESIZE,
        )
        return Realisation(self.model(layout, shape, settings))

    def settings_of(self, pairs: Mapping[str, str]) -> Settings:
        """Return the settings meant by KEY=VALUE pairs, the rest at their defaults.

        Raises:
            UsageError: A key is no setting of this strategy, or a value does not fit it.
        """
        known = {one.name: one.type for one in fields(self.settings_type)}
        given = {}
        for key, text in pairs.items():
            if key not in known:
                has = f"it has {', '.join(known)}" if known else "it has none"
                raise UsageError(f"{key} is no setting of the strategy {self.name}; {has}")
            given[key] = _parse_setting(key, text, known[key])
        settings: Settings = self.settings_type(**given)
        return settings

    def settings_or_default(self, settings: Settings | None) -> Settings:
        """Return the settings given, or the strategy's defaults."""
        if settings is not None:
            return settings
        default: Settings = self.settings_type()
        return default


def _parse_setting(key: str, text: str, kind: Any) -> Any:  # noqa: ANN401 - a field's own type
    """Return a setting's value; `kind` is the type that its dataclass field is declared with."""
    if get_origin(kind) in {
        UnionType,
        Union,
    }:  # `int | None` is the one, `Literal | None` the other
        if text == "none":
            return None
        kind = next(one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) is Literal:
        if text in get_args(kind):
            return text
        raise UsageError(f"{key} is one of {', '.join(get_args(kind))}, not '{text}'")
    if kind is bool:
        if text in {"yes", "true", "on", "1", "no", "false", "off", "0"}:
            return text in {"yes", "true", "on", "1"}
        raise UsageError(f"{key} is yes or no, not '{text}'")
    if kind is int and key.endswith("_bytes"):
        return parse_bytes(text)
    try:
        return kind(text)
    except ValueError:
        raise UsageError(f"{key} is a number, not '{text}'") from None


def strategy_names() -> tuple[str, ...]:
    """Return the names of all strategies, the built-in ones first, then others installed."""
    return (*_BUILT_IN, *sorted(_installed().keys() - _BUILT_IN.keys()))


def find_strategy(name: str) -> SlotStrategy[Any]:
    """Return the strategy of a name.

    A built-in name costs one import of its module. Any other reads the metadata of all installed
    packages, some ten milliseconds.

    Raises:
        UsageError: There is none of that name, or what is installed under it does not load.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        found = getattr(import_module(module), attribute)
    else:
        installed = _installed()
        if name not in installed:
            raise UsageError(
                f"there is no slot strategy '{name}'; known are {', '.join(strategy_names())}"
            )
        try:
            found = installed[name].load()
        except Exception as error:
            # A plugin is foreign code: whatever it raises while it loads, it cannot be used.
            raise UsageError(f"the slot strategy '{name}' does not load: {error}") from error
    if not (isinstance(found, type) and issubclass(found, SlotStrategy)):
        raise UsageError(f"the slot strategy '{name}' is no subclass of memplan's SlotStrategy")
    missing = [
        one.name
        for one in fields(found.settings_type)
        if one.default is MISSING and one.default_factory is MISSING
    ]
    if missing:
        raise UsageError(f"the slot strategy '{name}' has no default for {', '.join(missing)}")
    strategy: SlotStrategy[Any] = found()
    return strategy


def _installed() -> Mapping[str, Any]:
    from importlib.metadata import entry_points

    return {one.name: one for one in entry_points(group=ENTRY_POINT_GROUP)}
