"""Zig constants, the slot as an extern struct, and comptime checks that it is laid out so."""

import re
from typing import TYPE_CHECKING

from memplan.reports import exports as out

if TYPE_CHECKING:
    from memplan.plan import Plan
    from memplan.slots import SlotLayout

_RESERVED = """
addrspace align allowzero and anyframe anytype asm async await break callconv catch comptime const
continue defer else enum errdefer error export extern fn for if inline linksection noalias noinline
nosuspend opaque or orelse packed pub resume return struct suspend switch test threadlocal try union
unreachable usingnamespace var volatile while anyerror anyopaque bool c_char c_int c_long
c_longdouble c_longlong c_short c_uint c_ulong c_ulonglong c_ushort comptime_float comptime_int f128
f16 f32 f64 f80 false isize noreturn null true type undefined usize void
"""


def render(plan: "Plan") -> str:
    """Return the module: `max_conn` and its like, `Slot`, and what must be true of it."""
    layout = plan.layout
    fields = {one.name for one in layout.fields}
    lines = [f"//! {line}" for line in out.heading(plan)]
    for one in out.exports(plan):
        if one.name in fields or one.name == "slot":
            continue
        lines += ["", *(f"/// {line}" for line in out.comment(one.why))]
        lines.append(f"pub const {_name(one.name)}{_value(one.value)};")
    return "\n".join([*lines, "", *_slot(layout)]) + "\n"


def _slot(layout: "SlotLayout") -> list[str]:
    from memplan.slots import PAGE_BYTES

    return [
        "/// A page of the machine that the plan is for.",
        f"pub const page_bytes: usize = {PAGE_BYTES};",
        "",
        "/// Pages that a slot takes when it is mapped on its own.",
        f"pub const slot_pages_alone: usize = {layout.pages_alone()};",
        "",
        "/// The most pages that one slot of a packed array lies on.",
        f"pub const slot_pages_straddled: usize = {layout.most_pages_straddled()};",
        "",
        "/// One connection's memory.",
        "pub const Slot = extern struct {",
        *(f"    {line}," for line in _members(layout)),
        "};",
        "",
        'const misplaced = "the slot is not laid out as planned";',
        "comptime {",
        *(f"    if ({check}) @compileError(misplaced);" for check in _wrong(layout)),
        "}",
    ]


def _members(layout: "SlotLayout") -> list[str]:
    """Return the fields in order, padding written out, alignment where it is not 1."""
    members, end = [], 0
    for index, (one, offset) in enumerate(zip(layout.fields, layout.offsets, strict=True)):
        if offset > end:
            members.append(f"_pad{index}: [{offset - end}]u8")
        align = one.align_bytes if index else layout.align_bytes
        suffix = f" align({align})" if align > 1 else ""
        members.append(f"{_name(one.name)}: [{one.size_bytes}]u8{suffix}")
        end = offset + one.size_bytes
    if layout.slot_bytes > end:
        members.append(f"_pad{len(layout.fields)}: [{layout.slot_bytes - end}]u8")
    return members


def _wrong(layout: "SlotLayout") -> list[str]:
    """Return the conditions under which the struct is not the layout."""
    return [
        f"@sizeOf(Slot) != {layout.slot_bytes}",
        f"@alignOf(Slot) != {layout.align_bytes}",
        *(
            f'@offsetOf(Slot, "{one.name}") != {offset}'
            for one, offset in zip(layout.fields, layout.offsets, strict=True)
        ),
        "(@sizeOf(Slot) + page_bytes - 1) / page_bytes != slot_pages_alone",
    ]


def _name(name: str) -> str:
    primitive = re.fullmatch(r"[iu][0-9]+|_", name) is not None
    return f'@"{name}"' if primitive or name in _RESERVED.split() else name


def _value(value: int | str) -> str:
    if isinstance(value, int):
        return f": usize = {value}"
    escaped = "".join(
        chr(byte) if 0x20 <= byte < 0x7F and byte not in b'"\\' else f"\\x{byte:02x}"
        for byte in value.encode()
    )
    return f' = "{escaped}"'
