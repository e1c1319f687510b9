"""How many descriptors a process needs, as a sum that can be read.

Descriptors are the process's, not the worker's: threads add up in one table, processes have one
each. An fd-indexed table and RLIMIT_NOFILE must both hold the sum, since the kernel hands out the
lowest free number and so never one above the count of those open.
"""

from dataclasses import dataclass

STANDARD_STREAMS = 3
PER_WORKER = (("listeners", 1), ("rings or epolls", 1), ("eventfds", 1))
"""What each worker's loop holds beside its connections."""


def counted(count: int, name: str) -> str:
    """Return a count of things named in the plural: `1 ring or epoll`, `64 rings or epolls`."""
    singular = " ".join(word.removesuffix("s") for word in name.split())
    return f"{count:,} {singular if count == 1 else name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptorSum:
    """The descriptors of one process.

    Attributes:
        parts: What they are for, with their counts.
        per: `process` where each worker is one, `all workers` where they share one.
    """

    parts: tuple[tuple[str, int], ...]
    per: str

    @property
    def total(self) -> int:
        """All of them."""
        return sum(count for _, count in self.parts)

    def words(self) -> str:
        """Return the sum in words: `4,096 connections + 64 listeners + ... = 4,291`."""
        parts = " + ".join(counted(count, name) for name, count in self.parts)
        return f"{parts} = {self.total:,} descriptors in {self.per}"
