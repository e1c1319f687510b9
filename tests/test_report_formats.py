"""Each format of a plan is read back by what reads it: json, csv, Markdown and HTML parsers."""

import csv
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from markdown_it import MarkdownIt
from markdown_it.token import Token
from sample_plans import ALL, FEASIBLE, churn_plan, infeasible_plan, sample_change, snapshot_plan

from memplan.errors import UsageError
from memplan.plan import Plan
from memplan.planner import recommend
from memplan.planning.configuration import Configuration
from memplan.reports import FORMATS, render, write_changes
from memplan.reports import csv as csv_report
from memplan.reports.changes import render_changes
from memplan.reports.html import plan_html
from memplan.reports.json import schema
from memplan.reports.sections import plan_sections
from memplan.reports.words import one_line
from memplan.units import MIB

ROOT = Path(__file__).parent.parent
ESCAPE = "\x1b"


@pytest.fixture(params=ALL, ids=str)
def plan(request: pytest.FixtureRequest) -> Plan:
    """Return each of the sample plans in turn."""
    return ALL[request.param]


def test_json_is_the_plan_and_fits_its_schema(plan: Plan) -> None:
    """The JSON is `to_dict()` to the last digit, and every field is known to the schema."""
    document = schema()
    Draft202012Validator.check_schema(document)
    data = json.loads(render(plan, "json"))
    Draft202012Validator(document).validate(data)
    assert data == json.loads(json.dumps(plan.to_dict()))


def test_the_schema_is_strict_and_every_field_says_what_it_is() -> None:
    """An object with a field too many or too few is refused; no field lacks its description."""
    document = schema()
    validator = Draft202012Validator(document)
    data = json.loads(render(churn_plan(), "json"))

    def objects(value: object) -> list[dict[str, object]]:
        if isinstance(value, dict):
            return [value, *(inner for one in value.values() for inner in objects(one))]
        if isinstance(value, list):
            return [inner for one in value for inner in objects(one)]
        return []

    quantiles_or_sizes = ({"p50", "p99"}, {"p0", "p100"})
    for one in objects(data):
        if set(one) in quantiles_or_sizes or "state" in one:
            continue
        one["surplus"] = 1
        assert not validator.is_valid(data), sorted(one)
        del one["surplus"]
        for name in list(one):
            kept = one.pop(name)
            assert not validator.is_valid(data), name
            one[name] = kept
    assert validator.is_valid(data)
    for part in objects(document):
        properties = part.get("properties", {})
        assert isinstance(properties, dict)
        for name, field in properties.items():
            if isinstance(field, dict) and name != "properties":
                assert str(field.get("description", "")).endswith("."), name


def test_the_page_on_json_is_in_step_with_the_schema() -> None:
    """docs/json.md is what the schema renders to."""
    done = subprocess.run(
        [sys.executable, "tools/render_json_docs.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == (ROOT / "docs" / "json.md").read_text(encoding="utf-8")


def test_csv_has_settings_and_regions_under_one_header(plan: Plan) -> None:
    """The csv module reads back every setting and every region, eight cells a row."""
    rows = list(csv.DictReader(io.StringIO(render(plan, "csv")), strict=True))
    assert all(None not in row and None not in row.values() for row in rows)
    assert tuple(rows[0]) == csv_report.HEADER
    settings = {row["name"]: row["value"] for row in rows if row["section"] == "setting"}
    assert settings == {one_line(one.name): one_line(str(one.value)) for one in plan.settings}
    charges = [row for row in rows if row["section"] == "region charge"]
    assert [(row["name"], int(row["value"]), int(row["low"]), row["note"]) for row in charges] == [
        (
            one_line(one.name),
            one.charge_bytes,
            one.charge_low_bytes,
            one_line(one.provenance.source),
        )
        for one in plan.prediction.regions
    ]


def markdown_tables(text: str) -> list[list[list[str]]]:
    """Return the tables that GitHub's dialect sees: rows of cells, as plain text."""

    def words(token: Token) -> str:
        children = token.children or []
        return "".join(child.content for child in children if child.type == "text")

    tables: list[list[list[str]]] = []
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(text)
    for index, token in enumerate(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append([])
        elif token.type in {"th_open", "td_open"}:
            tables[-1][-1].append(words(tokens[index + 1]))
    return tables


def test_markdown_holds_each_table_cell_by_cell(plan: Plan) -> None:
    """A Markdown parser sees the sections' tables, each cell's text as it is, escapes undone."""
    tables = markdown_tables(render(plan, "markdown"))
    sections = [section for section in plan_sections(plan) if section.rows]
    assert len(tables) == len(sections)
    for table, section in zip(tables, sections, strict=True):
        assert table[0] == [column.title for column in section.columns]
        for row, found in zip(section.rows, table[1:], strict=True):
            assert found == [one_line(cell.text) for cell in row]


def test_markdown_lets_no_text_become_markup() -> None:
    """Neither HTML nor links nor emphasis come out of a plan's own texts."""
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(render(FEASIBLE["nasty"], "markdown"))
    kinds = {child.type for token in tokens for child in token.children or []}
    kinds |= {token.type for token in tokens}
    assert not kinds & {
        "html_inline",
        "html_block",
        "link_open",
        "em_open",
        "code_inline",
        "s_open",
    }


class Tags(HTMLParser):
    """Collects tags and text, and checks that tags close in order."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag; only plain attributes are allowed."""
        assert all(name in {"class", "open"} for name, _ in attrs)
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that it closes the tag opened last."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.texts.append(data)


def test_html_is_well_formed_and_takes_no_text_for_markup(plan: Plan) -> None:
    """The notebook's fragment nests properly, runs nothing, and shows every text as it is."""
    parser = Tags()
    parser.feed(plan_html(plan))
    assert parser.open == []
    plain_tags = {"div", "style", "p", "span", "details", "summary", "dl", "dt", "dd"}
    assert parser.seen <= plain_tags | {"table", "thead", "tbody", "tr", "th", "td"}
    for caution in plan.cautions:
        assert one_line(caution.text) in parser.texts
    assert plan._repr_html_() == plan_html(plan)


def test_a_summary_is_about_a_dozen_lines() -> None:
    """`summary()` gives the advice, both memory accounts and the gravest warnings, briefly."""
    for plan in (snapshot_plan(), churn_plan(), infeasible_plan()):
        text = plan.summary()
        assert len(text.splitlines()) <= 16
        assert "max_conn 256" in text
        assert "container's charge" in text
        assert "process (PSS)" in text
    assert ESCAPE not in FEASIBLE["nasty"].summary()


# What changes ---------------------------------------------------------------------------------


def test_a_change_is_told_with_its_sums(tmp_path: Path) -> None:
    """Each region's change and the three sums stand in the table, with the warnings."""
    text = render_changes(sample_change(), "table")
    first = text.splitlines()[0]
    assert first == "resident 0 · virtual -672 MiB · container's charge +4.5 KiB"
    assert re.search(r"^  slots +-672 MiB +0 +0$", text, re.MULTILINE)
    assert re.search(r"^  total +-672 MiB +0 +\+4.5 KiB$", text, re.MULTILINE)
    assert re.search(r"^    the same +sockets$", text, re.MULTILINE)
    assert "15 s (7.5e-07)" in text
    write_changes(sample_change(), "table", tmp_path / "change.txt")
    assert (tmp_path / "change.txt").read_text(encoding="utf-8") == text


def test_a_change_as_json_markdown_and_html_says_the_same() -> None:
    """JSON is `to_dict()`, Markdown has its tables, HTML nests properly."""
    change = sample_change()
    assert json.loads(render_changes(change, "json")) == json.loads(json.dumps(change.to_dict()))
    first = markdown_tables(render_changes(change, "markdown"))[0]
    assert first[-1] == ["total", "-672 MiB", "0", "+4.5 KiB"]
    parser = Tags()
    parser.feed(change._repr_html_())
    assert parser.open == []
    assert "-672 MiB" in parser.texts
    with pytest.raises(UsageError, match="table, json, markdown"):
        render_changes(change, "csv")


# A plan of the planner's own --------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 4, "conns": 200},
        {
            "workers": 4,
            "conns": {0.5: 200, 0.99: 260},
            "reconnects_per_s": 100.0,
            "client_addresses": 1,
            "request_bytes": (80, 300),
            "charge": ((100, 40 * MIB), (200, 60 * MIB)),
            "current": Configuration.parse("strategy=fd,max_conn=64,slot=12KiB,max_fd=256"),
        },
        {"workers": 2, "conns": 100, "balance": "exact", "strategy": "pooled"},
    ],
    ids=["snapshot", "churn", "exact"],
)
def test_a_plan_of_the_planner_can_be_written_in_every_format(options: dict[str, Any]) -> None:
    """What `recommend` really returns fits the schema and every format."""
    plan = recommend(**options)
    Draft202012Validator(schema()).validate(json.loads(render(plan, "json")))
    for format_name in FORMATS:
        assert render(plan, format_name).endswith("\n")
    assert plan.summary()
    assert plan._repr_html_()
