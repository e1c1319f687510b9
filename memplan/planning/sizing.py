"""Buffer sizes from the traffic: what a connection needs, and the layouts worth comparing.

A byte costs nothing by itself; a page does. So a size is advised only together with the pages that
the whole slot makes resident, and bytes that fill up a page already paid for are given away.
"""

from dataclasses import dataclass
from typing import NamedTuple

from memplan.planning.goals import Goals
from memplan.quantity import Quantity
from memplan.slot_layout import PAGE_BYTES, SlotLayout, round_up
from memplan.workload import Traffic

CACHE_LINE_BYTES = 64
STATE_BYTES = 128
"""Parser state of a connection: offsets, lengths, flags and a timer fit two cache lines."""
HIGH_LEVEL = 0.99
"""A buffer holds what 99 of 100 requests need; a larger one is read or sent in pieces."""
LARGEST_BUFFER_BYTES = 1 << 20
"""A message above this is streamed through the buffer, not held in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferNeed:
    """What the traffic asks of a slot's fields, in bytes; None where nothing is known of it.

    Attributes:
        recv: All request heads of a pipelined batch, and the bodies between them.
        body: One request's body.
        write: All responses of a batch, so that one send goes out for them.
    """

    recv: int | None
    body: int | None
    write: int | None

    @property
    def known(self) -> bool:
        """Whether the traffic says anything."""
        return not self.recv is self.body is self.write is None


def _high(quantity: Quantity | None) -> int | None:
    return None if quantity is None else int(-(-quantity.quantile(HIGH_LEVEL) // 1))


def buffer_need(traffic: Traffic) -> BufferNeed:
    """Return what each field of a slot has to hold for this traffic."""
    depth = _high(traffic.pipeline) or 1
    head, body, response = (
        _high(size) for size in (traffic.request_bytes, traffic.body_bytes, traffic.response_bytes)
    )
    recv = None if head is None else depth * head + (depth - 1) * (body or 0)
    write = None if response is None else depth * response
    return BufferNeed(
        recv=None if recv is None else min(recv, LARGEST_BUFFER_BYTES),
        body=None if body is None else min(body, LARGEST_BUFFER_BYTES),
        write=None if write is None else min(write, LARGEST_BUFFER_BYTES),
    )


class _Sizes(NamedTuple):
    """Bytes of the three buffers."""

    recv: int
    body: int
    write: int

    def with_state(self, state: int) -> SlotLayout:
        return SlotLayout.of(state=state, recv=self.recv, body=self.body, write=self.write)


def candidate_layouts(need: BufferNeed, goals: Goals) -> tuple[SlotLayout, ...]:
    """Return the slot layouts worth comparing, smallest first; fixed sizes are in all of them.

    They are: the need itself in whole cache lines, one at least to receive into; the same grown to
    whole pages, the spare bytes going to the receive buffer; each buffer a power of two; and a page
    for each buffer.
    """
    state = STATE_BYTES if goals.state is None else goals.state
    page_each = _Sizes(max(PAGE_BYTES - state, CACHE_LINE_BYTES), PAGE_BYTES, PAGE_BYTES)
    needs = (need.recv, need.body, need.write)
    lines = _Sizes(
        *(
            page if size is None else round_up(size, CACHE_LINE_BYTES)
            for size, page in zip(needs, page_each, strict=True)
        )
    )
    # Whatever little is sent, a server has to read somewhere.
    lines = lines._replace(recv=max(lines.recv, CACHE_LINE_BYTES))
    choices = [lines, _Sizes(*(_power_of_two(size) for size in lines))]
    if all(size is None or size <= page for size, page in zip(needs, page_each, strict=True)):
        choices.append(page_each)
    layouts = set()
    for choice in choices:
        sizes = _Sizes(
            *(
                size if fixed is None else fixed
                for size, fixed in zip(choice, (goals.recv, goals.body, goals.write), strict=True)
            )
        )
        layouts.add(sizes.with_state(state))
        if goals.recv is None:
            spare = -(state + sum(sizes)) % PAGE_BYTES
            layouts.add(sizes._replace(recv=sizes.recv + spare).with_state(state))
    return tuple(sorted(layouts, key=lambda layout: layout.slot_bytes))


def _power_of_two(size: int) -> int:
    return 1 << (size - 1).bit_length() if size else 0


def generous(slots: int) -> int:
    """Return a round number of slots with headroom: the power of two at or above 1.5 times.

    A slot that no connection ever reaches is address space and nothing else, so there is no reason
    to be exact, and a growth of the load by half does not ask for another plan.
    """
    roomy = -(-3 * max(slots, 1) // 2)
    return 1 << max(3, (roomy - 1).bit_length())
