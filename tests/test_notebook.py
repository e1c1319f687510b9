"""The notebook is true: it runs from its first cell to its last, and gives what it shows."""

import re
import runpy
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).parent.parent
STORY = ROOT / "notebooks" / "story.ipynb"
RUN = runpy.run_path(str(ROOT / "tools" / "run_notebook.py"))["run"]

FIGURES = (
    "standard deviation 7.94",
    "overflow at most 1e-06: 112 slots, 9.616e-07 left",
    "128 slots, 15 s:    7.49e-07",
    "128 slots, 30 days: 0.1215, between 0.1215 and 0.1294",
    "for 30 days: 135 slots at 1e-3, 144 at 1e-6",
    "14,116 client tuples; a worker's share is off by 6.7% (sd)",
    "slots that a worker has touched after 5 s: 93.9, of 64 held",
    "limited-conn over baseline: 70 MiB, of which 22.4 MiB are slots touched by churn",
    "two more runs: 18 MiB, of which 2.19 MiB are slots touched by churn",
    "31.1 KiB a connection over 59.4 MiB",
)


def read(path: Path) -> NotebookNode:
    """Return a notebook as it is committed."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def printed(notebook: NotebookNode) -> list[str]:
    """Return what each code cell prints."""
    return [
        "".join(output.text for output in cell.outputs if output.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


@pytest.fixture(scope="module")
def rerun() -> NotebookNode:
    """Return the story, run afresh; a cell that fails, an assertion's too, is an error here."""
    notebook = read(STORY)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    RUN(notebook, STORY.parent)
    return notebook


def test_the_notebook_runs_from_its_first_cell_to_its_last(rerun: NotebookNode) -> None:
    """Every code cell runs once, in order, and none of them ends in an error."""
    cells = [cell for cell in rerun.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [out for cell in cells for out in cell.outputs if out.output_type == "error"]


def test_the_story_comes_out(rerun: NotebookNode) -> None:
    """The figures that the story turns on are printed by this run."""
    text = "\n".join(printed(rerun))
    assert [figure for figure in FIGURES if figure not in text] == []


def test_what_the_notebook_shows_is_what_it_gives(rerun: NotebookNode) -> None:
    """The committed outputs are those of a whole run, and print what this run prints."""
    committed = read(STORY)
    counts = [cell.execution_count for cell in committed.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1))
    assert printed(committed) == printed(rerun)


def test_a_plan_and_a_change_are_shown_as_html() -> None:
    """A reader of the committed notebook sees both reports and both figures, without running it."""
    data = [
        output.data
        for cell in read(STORY).cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    html = [one["text/html"] for one in data if "text/html" in one]
    assert sum("MAX_CONN" in one and "Advice" in one for one in html) == 1
    assert sum("-672 MiB" in one for one in html) == 1
    assert sum("image/png" in one for one in data) == 2


def test_the_notebook_tells_nothing_of_the_machine_that_ran_it() -> None:
    """No path, no time of day, and no more than a quarter of a MiB is committed."""
    text = STORY.read_text(encoding="utf-8")
    assert len(text) < 256 * 1024
    assert str(ROOT) not in text
    assert not re.search(r"[\s\"'(]/(?:home|root|tmp|usr|opt|Users)/", text)
    assert '"execution":' not in text
