"""A C header: the settings as macros, the slot as a struct, and assertions that it is laid out so.

It compiles as C11 and later and as C++11 and later: the words that differ between them are taken
from stdalign.h and assert.h, which give both the same ones.
"""

from typing import TYPE_CHECKING

from memplan.reports import exports as out

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memplan.plan import Plan
    from memplan.slots import SlotLayout

GUARD = "MEMPLAN_PLAN_H"


def render(plan: "Plan") -> str:
    """Return the header.

    Its names: a setting's own in capitals (`MAX_CONN`), a slot's fields as `SLOT_RECV_BYTES`, the
    struct `struct slot`.
    """
    layout = plan.layout
    fields = {one.name for one in layout.fields}
    lines = [
        *_comment(out.heading(plan)),
        f"#ifndef {GUARD}",
        f"#define {GUARD}",
        "",
        "#include <assert.h>",
        "#include <stdalign.h>",
        "#include <stddef.h>",
        "",
    ]
    for one in out.exports(plan):
        if one.name not in fields and one.name != "slot":
            lines += [
                *_comment(out.comment(one.why)),
                f"#define {one.name.upper()} {_literal(one.value)}",
            ]
    lines += ["", *_slot(layout), "", f"#endif /* {GUARD} */"]
    return "\n".join(lines) + "\n"


def _slot(layout: "SlotLayout") -> list[str]:
    from memplan.slots import PAGE_BYTES

    declaration = layout.c_declaration("slot").replace("_Alignas", "alignas")
    checks = (
        layout.c_checks("slot")
        .replace("_Static_assert", "static_assert")
        .replace("_Alignof", "alignof")
    )
    alone = layout.pages_alone()
    return [
        f"#define SLOT_BYTES {layout.slot_bytes}",
        *(f"#define SLOT_{one.name.upper()}_BYTES {one.size_bytes}" for one in layout.fields),
        "",
        "/* A page of the machine that the plan is for. */",
        f"#define SLOT_PAGE_BYTES {PAGE_BYTES}",
        "/* Pages that a slot takes when it is mapped on its own. */",
        f"#define SLOT_PAGES_ALONE {alone}",
        "/* The most pages that one slot of a packed array lies on. */",
        f"#define SLOT_PAGES_STRADDLED {layout.most_pages_straddled()}",
        "",
        declaration,
        "",
        checks,
        *(
            _assertion(f"sizeof(((struct slot *)0)->{one.name})", f"SLOT_{one.name.upper()}_BYTES")
            for one in layout.fields
        ),
        _assertion(
            "(sizeof(struct slot) + SLOT_PAGE_BYTES - 1) / SLOT_PAGE_BYTES", "SLOT_PAGES_ALONE"
        ),
    ]


def _assertion(found: str, planned: str) -> str:
    return f'static_assert({found} == {planned}, "slot");'


def _literal(value: int | str) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = "".join(
        char if char.isascii() and char.isprintable() and char not in '"\\?' else f"\\{octal}"
        for char, octal in ((chr(byte), f"{byte:03o}") for byte in value.encode())
    )
    return f'"{escaped}"'


def _comment(lines: "Iterable[str]") -> list[str]:
    listed = [line.replace("*/", "* /").replace("/*", "/ *") for line in lines]
    if len(listed) == 1:
        return [f"/* {listed[0]} */"]
    return [f"/* {listed[0]}", *(f" * {line}" for line in listed[1:]), " */"]
