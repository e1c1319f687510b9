"""The layout of tables: whatever is laid out, nothing is lost and figures stay whole."""

from hypothesis import given
from hypothesis import strategies as st

from memplan.reports.layout import WIDE, section_lines
from memplan.reports.output import plain
from memplan.reports.sheet import Cell, Column, Section

words = st.text(st.characters(categories=("Lu", "Ll", "Nd")), min_size=1, max_size=12)
sentences = st.lists(words, max_size=25).map(" ".join)
figures = st.text("0123456789.,", min_size=1, max_size=9)


@st.composite
def sections(draw: st.DrawFn) -> Section:
    """Draw a section of up to four columns and four rows, with details."""
    columns = tuple(
        Column(draw(words), figure=figure, label=index == 0)
        for index, figure in enumerate(draw(st.lists(st.booleans(), min_size=1, max_size=4)))
    )
    rows = draw(st.integers(0, 4))
    return Section(
        title=draw(words),
        gist=draw(sentences),
        columns=columns,
        rows=tuple(
            tuple(Cell(draw(figures if column.figure else sentences)) for column in columns)
            for _ in range(rows)
        ),
        details=tuple((Cell(draw(words)), draw(sentences)) for _ in range(draw(st.integers(0, 2)))),
    )


@given(sections(), st.integers(76, 120))
def test_nothing_is_lost_and_no_line_is_too_long(section: Section, width: int) -> None:
    """Every figure stands in one piece, every word's letters are there, and lines keep the width.

    Four columns of words or figures of these sizes always fit; only larger figures make a line
    longer than the terminal.
    """
    text = plain(section_lines([section], width))
    tokens = text.split()
    letters = sorted("".join(tokens))
    expected = section.title + section.gist
    expected += "".join(name.text + detail for name, detail in section.details)
    if section.rows:
        expected += "".join(column.title for column in section.columns)
        expected += "".join(cell.text for row in section.rows for cell in row)
    assert letters == sorted("".join(expected.split()))
    for row in section.rows:
        for column, cell in zip(section.columns, row, strict=True):
            assert not column.figure or cell.text in tokens
    assert all(len(line) <= width for line in text.splitlines())


@given(sections())
def test_columns_line_up(section: Section) -> None:
    """Figures of one column end at the same place in every row."""
    if not section.rows or not section.columns[0].figure:
        return
    lone = Section(
        title="t",
        columns=section.columns[:1],
        rows=tuple(row[:1] for row in section.rows),
    )
    lines = plain(section_lines([lone], 80)).splitlines()[2:]
    assert len({len(line) for line in lines}) == 1


def test_a_wide_terminal_shows_more() -> None:
    """A column for wide terminals is drawn there and left out elsewhere; an empty one nowhere."""
    section = Section(
        title="t",
        columns=(Column("a"), Column("b", wide=True), Column("", figure=False)),
        rows=((Cell("1"), Cell("2"), Cell("")),),
    )
    assert plain(section_lines([section], WIDE - 1)) == "\nt\n  a\n  1\n"
    assert plain(section_lines([section], WIDE)) == "\nt\n  a  b\n  1  2\n"
