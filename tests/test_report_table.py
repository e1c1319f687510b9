"""The table shows a plan whole, at any width, in the order in which it is read."""

import re
from pathlib import Path

import pytest
from sample_plans import ALL, churn_plan, infeasible_plan

from memplan.plan import Plan
from memplan.reports import render
from memplan.reports.output import plain
from memplan.reports.sections import plan_sections
from memplan.reports.table import report_lines
from memplan.reports.words import bytes_range, exact_bytes, percent, signed_bytes
from memplan.units import KIB, MIB

ROOT = Path(__file__).parent.parent
ESCAPE = "\x1b"


@pytest.fixture(params=ALL, ids=str)
def plan(request: pytest.FixtureRequest) -> Plan:
    """Return each of the sample plans in turn."""
    return ALL[request.param]


def figures(plan: Plan) -> list[str]:
    """Return every figure of every section, as it must appear in one piece."""
    return [
        row[index].text
        for section in plan_sections(plan)
        for row in section.rows
        for index, column in enumerate(section.columns)
        if column.figure and not column.wide and row[index].text and "\n" not in row[index].text
    ]


@pytest.mark.parametrize("width", [76, 80, 120])
@pytest.mark.parametrize("name", sorted(set(ALL) - {"nasty"}))
def test_no_figure_is_cut_or_broken(name: str, width: int) -> None:
    """Every figure stands whole in the table, at the narrowest width and the widest."""
    text = plain(report_lines(ALL[name], width))
    for figure in figures(ALL[name]):
        assert re.search(rf"(^|\s){re.escape(figure)}(\s|$)", text, re.MULTILINE), figure


@pytest.mark.parametrize("width", [76, 80, 120])
@pytest.mark.parametrize("name", ["snapshot", "churn", "infeasible", "aligned", "opaque"])
def test_lines_keep_to_the_width(name: str, width: int) -> None:
    """No line of an ordinary plan is longer than the terminal, and none ends in blanks."""
    for line in plain(report_lines(ALL[name], width)).splitlines():
        assert len(line) <= width, line
        assert line == line.rstrip()


def test_every_word_of_the_plan_is_there(plan: Plan) -> None:
    """Reasons, verdicts, sources, warnings and assumptions are shown whole, only wrapped."""
    shown = "".join(plain(report_lines(plan, 120)).split())
    texts = [
        *(one.why for one in plan.settings),
        *(one.verdict for one in plan.strategies),
        *(one.text for one in plan.cautions),
        *plan.assumptions,
    ]
    for text in texts:
        printable = "".join(char for char in text if char.isprintable())
        for word in printable.split():
            assert word in shown


def test_the_advice_comes_first_and_the_warnings_last() -> None:
    """A reader meets the advice before anything else, and the warnings where the screen ends."""
    titles = [section.title for section in plan_sections(churn_plan())]
    assert titles[0] == "Advice"
    assert titles[-1] == "Warnings"
    assert titles == [
        "Advice",
        "Memory",
        "MAX_CONN",
        "Strategies",
        "Regions",
        "Probabilities",
        "Constraints",
        "Changes",
        "Assumed",
        "Warnings",
    ]


def test_a_plan_that_cannot_be_met_lists_every_region_against_the_limit() -> None:
    """What fails and what takes the memory stand before any advice."""
    plan = infeasible_plan()
    text = render(plan, "table")
    listing = text[: text.index("\nAdvice")]
    assert "CANNOT BE MET: memory limit" in listing
    assert "BROKEN" in listing
    for region in plan.prediction.regions:
        assert region.name in listing


def test_a_pinned_setting_and_the_binding_constraint_are_marked() -> None:
    """What the user fixed says so, and so does the constraint that decides."""
    lines = render(churn_plan(), "table").splitlines()
    assert any("max_fd" in line and "pinned" in line for line in lines)
    assert not any("max_conn" in line and "pinned" in line for line in lines)
    assert [line for line in lines if line.startswith("  ▸  memory limit")]


def test_figures_read_alike_everywhere() -> None:
    """Sizes to set are exact, intervals share their unit, changes have signs, shares are short."""
    assert [exact_bytes(size) for size in (512, 6758, 4608, 12 * KIB, 3 * MIB)] == [
        "512 B",
        "6,758 B",
        "4.5 KiB",
        "12 KiB",
        "3 MiB",
    ]
    assert bytes_range(52 * MIB, 97.5 * MIB) == "52 – 97.5 MiB"
    assert bytes_range(999 * KIB, 2 * MIB) == "999 KiB – 2 MiB"
    assert bytes_range(MIB, MIB) == "1 MiB"
    assert [signed_bytes(size) for size in (-672 * MIB, 0, 4.5 * KIB)] == [
        "-672 MiB",
        "0",
        "+4.5 KiB",
    ]
    assert [percent(share) for share in (0.47, 19, 0.003, 1e-60, float("inf"))] == [
        "47%",
        "1,900%",
        "0.3%",
        "<0.01%",
        "unbounded",
    ]
