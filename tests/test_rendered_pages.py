"""Pages that are rendered stay true: what they show is what a reader gets now.

What hangs on the machine, such as its memory or its limits, is not compared.
"""

import json
import re
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
OUTPUTS = runpy.run_path(str(ROOT / "tools" / "render_outputs.py"))
BENCHMARKS = runpy.run_path(str(ROOT / "tools" / "render_benchmarks.py"))
PICTURE = runpy.run_path(str(ROOT / "tools" / "draw_picture.py"))

CASES = [
    (page, block)
    for page in OUTPUTS["pages"]()
    for block in OUTPUTS["blocks"](page.read_text(encoding="utf-8"))
]
INDEPENDENT = ("Advice", "MAX_CONN", "MAX_CONN under churn", "Changes")
"""Sections that come out the same on any machine with pages of 4 KiB."""


def risks(section: str) -> str:
    """Return a section of warnings without all that is no risk."""
    entries = re.split(r"\n  (?=\S)", section)
    return "\n".join(entry for entry in entries if entry.startswith("risk"))


def comparable(sections: Mapping[str, str]) -> dict[str, str]:
    """Return the sections of a report that do not hang on the machine."""
    found = {name: text for name, text in sections.items() if name in INDEPENDENT}
    if "Warnings" in sections:
        found["risks"] = risks(sections["Warnings"])
    # The head's first lines are the load and the target, or the sums of a change.
    found["head"] = sections.get("head", "").split("The plan", maxsplit=1)[0]
    return found


@pytest.mark.parametrize(
    ("page", "block"), CASES, ids=[f"{page.name}: {block.command[2:60]}" for page, block in CASES]
)
def test_an_output_of_a_page_is_what_the_command_prints(page: Path, block: Any) -> None:  # noqa: ANN401 - of a script
    """Advice, tables of MAX_CONN, changes and risks on the page equal those printed now."""
    shown = comparable(OUTPUTS["sections_of"](block.output))
    now = comparable(OUTPUTS["sections_of"](block.fresh()))
    assert shown == now, f"{page.name}: run tools/render_outputs.py"


def test_the_readme_shows_the_advice() -> None:
    """The first command of the README is shown with its advice, and says what it leaves out."""
    page, block = CASES[0]
    assert page.name == "README.md"
    assert block.command == "$ memplan recommend --workers 64 --conns 4096"
    assert "  max_conn      256  112 hold 1e-06 at one moment" in block.output
    assert re.search(r"^\[left out here: .*\]$", block.output, re.MULTILINE)


def test_what_is_left_out_is_marked_at_a_border_of_sections() -> None:
    """A shortened output keeps whole sections in their order, with a mark for each gap."""
    printed = "load\n\nAdvice\n  a\n\nMemory\n  b\n\n  c\n\nWarnings\n  d\n"
    shortened = OUTPUTS["shortened"]
    assert shortened(printed, ("head", "Memory")) == (
        "load\n\n[left out here: Advice]\n\nMemory\n  b\n\n  c\n\n[left out here: Warnings]\n"
    )
    assert shortened(printed, ("head", "Advice", "Memory", "Warnings")) == printed
    with pytest.raises(ValueError, match="no section Advise"):
        shortened(printed, ("Advise",))


def test_the_page_of_benchmarks_is_rendered_from_the_results() -> None:
    """No figure of the page was typed."""
    committed = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert committed == BENCHMARKS["page"](), "run tools/render_benchmarks.py"


def test_results_name_their_machine_and_not_its_host() -> None:
    """A committed result says on what it was measured, without a path or a host's name."""
    for path in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert result["benchmark"] == path.stem
        assert set(result["machine"]) == {"cpu", "cpus", "kernel", "python", "numpy"}
        assert (ROOT / "benchmarks" / f"{path.stem}.py").exists()
        assert "/home" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_picture_shows_the_librarys_chances(theme: str) -> None:
    """The chances written into the picture when it was drawn are those of the library now."""
    text = (ROOT / "docs" / "images" / f"overflow-{theme}.svg").read_text(encoding="utf-8")
    found = re.search(r"<dc:description>(.*?)</dc:description>", text)
    assert found is not None
    drawn = json.loads(found[1].replace("&quot;", '"'))
    now = PICTURE["marked_chances"]()
    assert drawn.keys() == now.keys()
    for curve, chances in now.items():
        assert drawn[curve] == pytest.approx(chances, rel=1e-5)
