"""The HTML of a plan in a notebook: what is unfolded, and that its style stays its own."""

import re

import pytest

import memplan as mp


class Collected:
    """A printer as IPython has one, that keeps what it is given."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def text(self, text: str) -> None:
        """Keep a text."""
        self.texts.append(text)


@pytest.fixture(scope="module")
def plan() -> mp.Plan:
    """Return a plan that holds."""
    return mp.recommend(workers=8, conns=1000, memory_limit_bytes=1 << 30)


def unfolded(html: str) -> set[str]:
    """Return the titles of the sections that are shown from the start."""
    return set(re.findall(r"<details open>\n<summary>(.*?)</summary>", html))


def test_a_plan_that_cannot_be_met_shows_why(plan: mp.Plan) -> None:
    """Constraints are unfolded only where one of them is broken."""
    broken = mp.recommend(workers=8, conns=1000, memory_limit_bytes=1 << 20)
    assert not broken.feasible
    assert {"Constraints", "Regions against the limit"} <= unfolded(broken._repr_html_())
    assert plan.feasible
    assert "Constraints" not in unfolded(plan._repr_html_())
    assert {"Advice", "Memory", "MAX_CONN", "Warnings"} <= unfolded(plan._repr_html_())


def test_the_style_touches_nothing_else_and_outweighs_the_notebooks(plan: mp.Plan) -> None:
    """Every rule is for the fragment alone, and its class said twice outweighs a notebook's own."""
    style = re.search(r"<style>(.*?)</style>", plan._repr_html_(), re.DOTALL)
    assert style is not None
    selectors = re.findall(r"([^{}]+)\{[^{}]*\}", style[1])
    assert len(selectors) > 10
    assert [one for one in selectors if not one.strip().startswith(".memplan.memplan")] == []


def test_a_prompt_shows_the_summary(plan: mp.Plan) -> None:
    """Where IPython would print every field of a plan or a change, it prints the summary."""
    change = mp.what_if("strategy=static,max_conn=1024,slot=12KiB", "max_conn=128")
    for result in (plan, change):
        printer = Collected()
        result._repr_pretty_(printer, cycle=False)
        assert printer.texts == [result.summary()]
