"""What one connection's memory is made of: named fields, their order, padding and pages.

A layout knows nothing of connections or workers. It says where each field lies inside a slot, how
C would declare it, and which pages of 4 KiB a slot at a given address touches when only the first
bytes of each field are written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import gcd

from memplan.errors import UsageError
from memplan.units import KIB, parse_bytes

PAGE_BYTES = 4096
"""The page of x86-64, and the default of most other machines."""

FIELD_NAMES = ("state", "recv", "body", "write")
"""The usual fields in their usual order: parser state, then the three buffers."""

_C_KEYWORDS = """
alignas alignof auto bool break case char const constexpr continue default do double else enum
extern false float for goto if inline int long nullptr register restrict return short signed sizeof
static struct switch thread_local true typedef typeof union unsigned void volatile while
"""

Used = Mapping[str, int]
"""Bytes written of each field, counted from its start. A field that is not named is written whole,
so that nothing is forgotten; a name that a layout does not have says nothing about it; more than
the field holds fills it."""


def round_up(size: int, multiple: int) -> int:
    """Return the smallest multiple that holds a size."""
    return -(-size // multiple) * multiple


def _check_align(align_bytes: int) -> None:
    if align_bytes < 1 or align_bytes & (align_bytes - 1):
        raise UsageError(f"an alignment is a power of two (1, 8, 64, 4096), not {align_bytes}")


def check_c_name(name: str, what: str) -> None:
    """Refuse a name that a C compiler would not take.

    Raises:
        UsageError: The name is no identifier, is a keyword, or is kept for padding.
    """
    if (
        not (name.isascii() and name.isidentifier())
        or name in _C_KEYWORDS.split()
        or name[0] == "_"
    ):
        raise UsageError(f"'{name}' cannot name {what}; write a word that C takes, such as recv")


@dataclass(frozen=True, slots=True)
class SlotField:
    """One named part of a slot.

    Attributes:
        name: A C identifier, such as `recv`.
        size_bytes: Its size, at least one byte.
        align_bytes: The power of two that its offset must be a multiple of.
    """

    name: str
    size_bytes: int
    align_bytes: int = 1

    def __post_init__(self) -> None:
        check_c_name(self.name, "a field")
        if self.size_bytes < 1:
            raise UsageError(f"field {self.name} needs at least one byte, not {self.size_bytes}")
        _check_align(self.align_bytes)


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """The fields of a slot in their order, each at the first offset that its alignment allows.

    Attributes:
        fields: The fields, in memory order.
        align_bytes: Alignment of the whole slot; raised to the largest of its fields.
        offsets: Offset of each field, in bytes from the slot's start.
        slot_bytes: Size of the slot with all its padding: the stride of an array of them.
    """

    fields: tuple[SlotField, ...]
    align_bytes: int = 1
    offsets: tuple[int, ...] = field(init=False, repr=False, compare=False)
    slot_bytes: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if not self.fields:
            raise UsageError("a slot needs at least one field, as in recv=4KiB")
        names = [one.name for one in self.fields]
        if len(set(names)) < len(names):
            raise UsageError(f"a field is named twice in {', '.join(names)}")
        _check_align(self.align_bytes)
        offsets: list[int] = []
        end = 0
        for one in self.fields:
            offsets.append(round_up(end, one.align_bytes))
            end = offsets[-1] + one.size_bytes
        align = max(self.align_bytes, *(one.align_bytes for one in self.fields))
        # A frozen dataclass has no other way to keep what it derives from its own fields.
        object.__setattr__(self, "align_bytes", align)
        object.__setattr__(self, "offsets", tuple(offsets))
        object.__setattr__(self, "slot_bytes", round_up(end, align))

    @classmethod
    def of(
        cls,
        *,
        state: int = 128,
        recv: int = 4 * KIB,
        body: int = 4 * KIB,
        write: int = 4 * KIB,
        order: tuple[str, ...] = FIELD_NAMES,
        align: int | Mapping[str, int] = 8,
    ) -> "SlotLayout":
        """Return a layout of the usual fields; other names go to the constructor.

        Args:
            state: Bytes of the parser's state.
            recv: Bytes of the receive buffer. As with every field, 0 leaves it out.
            body: Bytes of the buffer for a request's body.
            write: Bytes of the write buffer.
            order: Memory order of the fields.
            align: Alignment of the slot (buffers need none of their own), or of fields by name.
        """
        sizes = {"state": state, "recv": recv, "body": body, "write": write}
        by_field: Mapping[str, int] = {} if isinstance(align, int) else align
        if sorted(order) != sorted(sizes) or by_field.keys() - sizes:
            raise UsageError(f"order and align speak of the fields {', '.join(sizes)}")
        fields = tuple(
            SlotField(name, sizes[name], by_field.get(name, 1)) for name in order if sizes[name]
        )
        return cls(fields, align if isinstance(align, int) else 1)

    @classmethod
    def opaque(cls, slot_bytes: int) -> "SlotLayout":
        """Return a layout known only by its size: one field, `slot`, that is written whole."""
        return cls((SlotField("slot", slot_bytes),))

    @classmethod
    def from_pairs(cls, pairs: Mapping[str, str]) -> "SlotLayout":
        """Return the layout meant by KEY=VALUE pairs, in the order in which they are written.

        A field is `recv=4KiB` or, aligned, `recv=4KiB@64`; `align=64` aligns the slot; `slot=12KiB`
        alone is an opaque slot.

        Raises:
            UsageError: A size is no size, or a name no field.
        """
        align = int(_parse_align(pairs["align"])) if "align" in pairs else 1
        fields = []
        for name, text in pairs.items():
            if name == "align":
                continue
            size, at, own_align = text.partition("@")
            size_bytes = parse_bytes(size)
            if size_bytes:
                fields.append(SlotField(name, size_bytes, _parse_align(own_align) if at else 1))
        if len(fields) > 1 and any(one.name == "slot" for one in fields):
            raise UsageError("slot is the size of a whole slot; give it alone, or give the fields")
        return cls(tuple(fields), align)

    @classmethod
    def parse(cls, text: str) -> "SlotLayout":
        """Return the layout meant by a text such as `state=128,recv=2KiB,write=4KiB,align=64`."""
        pairs: dict[str, str] = {}
        for part in text.split(","):
            name, equals, value = part.strip().partition("=")
            if not equals or not name or not value:
                raise UsageError(f"'{part}' is no field; write NAME=SIZE, as in recv=4KiB")
            if name in pairs:
                raise UsageError(f"{name} is given twice")
            pairs[name] = value
        return cls.from_pairs(pairs)

    def to_pairs(self) -> dict[str, str]:
        """Return the KEY=VALUE pairs that `from_pairs` reads back to the same layout."""
        pairs = {}
        for one in self.fields:
            own = f"@{one.align_bytes}" if one.align_bytes > 1 else ""
            pairs[one.name] = _size_text(one.size_bytes) + own
        if self.align_bytes > max(one.align_bytes for one in self.fields):
            pairs["align"] = str(self.align_bytes)
        return pairs

    def __str__(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.to_pairs().items())

    def to_dict(self) -> dict[str, object]:
        """Return the layout with the offset of each field, for JSON."""
        return {
            "slot_bytes": self.slot_bytes,
            "align_bytes": self.align_bytes,
            "fields": [
                {"name": one.name, "size_bytes": one.size_bytes, "offset_bytes": offset}
                for one, offset in zip(self.fields, self.offsets, strict=True)
            ],
        }

    def size_of(self, name: str) -> int:
        """Return the bytes of a field, 0 where the layout has none of that name."""
        return sum(one.size_bytes for one in self.fields if one.name == name)

    def offset_of(self, name: str) -> int:
        """Return the offset of a field.

        Raises:
            UsageError: The layout has no such field.
        """
        for one, offset in zip(self.fields, self.offsets, strict=True):
            if one.name == name:
                return offset
        raise UsageError(f"no field {name}; the slot has {', '.join(f.name for f in self.fields)}")

    def aligned(self, align_bytes: int) -> "SlotLayout":
        """Return the same fields with the whole slot aligned to at least so much."""
        return SlotLayout(self.fields, max(self.align_bytes, align_bytes))

    def without(self, *names: str) -> "SlotLayout | None":
        """Return the layout less some fields, None where nothing is left."""
        rest = tuple(one for one in self.fields if one.name not in names)
        return SlotLayout(rest, self.align_bytes) if rest else None

    # Where the bytes lie ------------------------------------------------------------------------

    def touched_ranges(self, used: Used | None = None) -> tuple[tuple[int, int], ...]:
        """Return the (start, end) byte ranges of a slot that are written, joined where they meet.

        Args:
            used: Bytes written of each field; None writes every field whole. Padding is never
                written.
        """
        ranges: list[tuple[int, int]] = []
        for one, offset in zip(self.fields, self.offsets, strict=True):
            size = one.size_bytes
            if used is not None and one.name in used:
                if used[one.name] < 0:
                    raise UsageError(f"{used[one.name]} bytes of {one.name} cannot be used")
                size = min(size, used[one.name])
            if size == 0:
                continue
            if ranges and ranges[-1][1] == offset:
                ranges[-1] = (ranges[-1][0], offset + size)
            else:
                ranges.append((offset, offset + size))
        return tuple(ranges)

    def pages_touched(
        self, offset_bytes: int = 0, used: Used | None = None, page_bytes: int = PAGE_BYTES
    ) -> tuple[int, ...]:
        """Return the numbers of the pages that a slot at an offset touches, increasing.

        Args:
            offset_bytes: Start of the slot, from the start of page 0.
            used: Bytes written of each field; None writes every field whole.
            page_bytes: Size of a page.
        """
        pages: list[int] = []
        for start, end in self.touched_ranges(used):
            first = (offset_bytes + start) // page_bytes
            last = (offset_bytes + end - 1) // page_bytes
            pages.extend(range(max(first, pages[-1] + 1) if pages else first, last + 1))
        return tuple(pages)

    def pages_alone(self, page_bytes: int = PAGE_BYTES) -> int:
        """Return the whole pages that a slot takes when it is mapped on its own."""
        return -(-self.slot_bytes // page_bytes)

    def most_pages_straddled(self, page_bytes: int = PAGE_BYTES) -> int:
        """Return the most pages that one slot of a packed array lies on.

        In an array that starts on a page, slots start at every multiple of gcd(slot, page) within
        a page, so the worst one starts one such step before a page ends.
        """
        step = gcd(self.slot_bytes, page_bytes)
        return (page_bytes - step + self.slot_bytes - 1) // page_bytes + 1

    # How C says it ------------------------------------------------------------------------------

    def c_declaration(self, type_name: str = "slot", *, alignas: bool = True) -> str:
        """Return a C struct in which every offset and the size are those of this layout.

        Padding is written out as members, so that the layout does not hang on a compiler's rules.

        Args:
            type_name: Name of the struct's tag.
            alignas: Write `_Alignas`, as C11 and later need it. cffi parses the word and ignores
                it, so for cffi leave it out; only the struct's own alignment is then lost.
        """
        check_c_name(type_name, "a type")
        lines = [f"struct {type_name} {{"]
        end = 0
        for index, (one, offset) in enumerate(zip(self.fields, self.offsets, strict=True)):
            if offset > end:
                lines.append(f"    unsigned char _pad{index}[{offset - end}];")
            align = one.align_bytes if index else self.align_bytes
            prefix = f"_Alignas({align}) " if alignas and align > 1 else ""
            lines.append(f"    {prefix}unsigned char {one.name}[{one.size_bytes}];")
            end = offset + one.size_bytes
        if self.slot_bytes > end:
            lines.append(f"    unsigned char _pad{len(self.fields)}[{self.slot_bytes - end}];")
        return "\n".join([*lines, "};"])

    def c_checks(self, type_name: str = "slot") -> str:
        """Return C11 assertions that a compiler's offsets and size are those of this layout.

        The translation unit must include stddef.h.
        """
        check_c_name(type_name, "a type")
        struct = f"struct {type_name}"
        checks = [f"sizeof({struct}) == {self.slot_bytes}"]
        checks += [
            f"offsetof({struct}, {one.name}) == {offset}"
            for one, offset in zip(self.fields, self.offsets, strict=True)
        ]
        checks.append(f"_Alignof({struct}) == {self.align_bytes}")
        return "\n".join(f'_Static_assert({check}, "{check}");' for check in checks)


def _parse_align(text: str) -> int:
    align_bytes = parse_bytes(text)
    _check_align(align_bytes)
    return align_bytes


def _size_text(size_bytes: int) -> str:
    return f"{size_bytes // KIB}KiB" if size_bytes % KIB == 0 else str(size_bytes)
