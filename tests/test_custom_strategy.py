"""A user's own strategy, as docs/custom_strategy.md has it, found and run as it says."""

import importlib
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from memplan.errors import UsageError
from memplan.slots import HostLimits, SlotLayout, SlotLoad, find_strategy, strategy_names
from memplan.units import KIB

PAGE = Path(__file__).parent.parent / "docs" / "custom_strategy.md"
ENTRY = 'chunked = "chunked_strategy:ChunkedStrategy"'


NO_DEFAULT = """
from dataclasses import dataclass
from memplan.slots import SlotStrategy

@dataclass
class Settings:
    size: int

class ChunkedStrategy(SlotStrategy):
    name, summary, settings_type = "chunked", "", Settings

    def footprint(self, load, layout, settings=None): ...
"""


def first_block(kind: str) -> str:
    """Return the first fenced block of a kind on the page."""
    match = re.search(rf"^```{kind}\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


def install(folder: Path, name: str, source: str, entries: str) -> None:
    """Lay a package out as an installer does: a module, and metadata with its entry points."""
    (folder / f"{name}.py").write_text(source, encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[memplan.slot_strategies]\n{entries}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder whose packages are installed for this test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("chunked_strategy", "broken_strategy"):
        sys.modules.pop(name, None)


def test_the_strategy_of_the_docs_is_found_and_answers(site: Path) -> None:
    """The page's file and entry point, installed, answer by name beside the built-in strategies."""
    assert ENTRY in first_block("toml")
    install(site, "chunked_strategy", first_block("python"), ENTRY.replace('"', ""))
    assert strategy_names() == ("static", "fd", "pooled", "chunked")
    chunked = find_strategy("chunked")
    settings = chunked.settings_of({"chunk_slots": "16"})
    load = SlotLoad.balanced(64, 4096, max_conn=1024)
    layout = SlotLayout.opaque(12 * KIB)
    footprint = chunked.footprint(load, layout, settings)
    static = find_strategy("static").footprint(load, layout)
    assert footprint.now.mean == pytest.approx(static.now.mean)
    assert footprint.virtual_bytes < static.virtual_bytes / 8
    draws = np.random.default_rng(1).binomial(4096, 1 / 64, 200_000)
    assert footprint.mappings / 64 == pytest.approx(np.ceil(draws / 16).mean(), rel=0.002)
    assert footprint.now.sd == pytest.approx(math.sqrt(64) * draws.std() * 3, rel=0.01)
    limits = chunked.limits(load, layout, HostLimits(max_map_count=65_530), settings)
    assert [one.name for one in limits] == ["nofile", "max_map_count"]
    assert limits[1].needed == 64 * 64 + 64 + 5 * 64
    with pytest.raises(UsageError, match="cannot be laid out"):
        chunked.realise(layout, workers=1, max_conn=4)


def test_slots_that_share_pages_are_counted_within_their_chunk(site: Path) -> None:
    """The page's strategy agrees with counting pages one by one for slots below a page."""
    install(site, "chunked_strategy", first_block("python"), ENTRY.replace('"', ""))
    layout = SlotLayout.opaque(1000)
    load = SlotLoad.balanced(8, 400, max_conn=100)
    found = find_strategy("chunked").footprint(load, layout).now
    draws = np.random.default_rng(2).binomial(400, 1 / 8, 4000)
    pages = [
        len({(n // 32, byte // 4096) for n in range(count) for byte in edges(n % 32)})
        for count in draws
    ]
    assert found.mean / 8 == pytest.approx(np.mean(pages), abs=0.1)


def edges(slot: int) -> tuple[int, int]:
    """Return the first and the last byte of a slot of 1,000 bytes."""
    return slot * 1000, slot * 1000 + 999


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("import no_such_module_anywhere\n", "does not load: No module named"),
        ("ChunkedStrategy = 3\n", "no subclass"),
        ("", "does not load"),
        (
            NO_DEFAULT,
            "no default for size",
        ),
    ],
)
def test_a_strategy_that_does_not_load_is_told_in_one_line(
    site: Path, source: str, says: str
) -> None:
    """Whatever is wrong with a user's file, the error names the strategy and the reason."""
    install(site, "broken_strategy", source, "chunked = broken_strategy:ChunkedStrategy")
    with pytest.raises(UsageError, match=f"'chunked'.*{says}"):
        find_strategy("chunked")


def test_a_built_in_name_cannot_be_taken(site: Path) -> None:
    """An installed package cannot put itself in the place of a built-in strategy."""
    install(site, "broken_strategy", "Static = 3\n", "static = broken_strategy:Static")
    assert find_strategy("static").settings_type.__name__ == "StaticSettings"
