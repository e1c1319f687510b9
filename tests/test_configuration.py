"""A configuration reads back what our own plans write, and refuses the rest in one clear line."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from planning_tools import HOST, Command, commander, plan

import memplan as mp
from memplan.planning.configuration import Configuration, pairs_of
from memplan.reports import render
from memplan.units import KIB, MIB
from memplan.whatif import what_if

PLANS: list[dict[str, Any]] = [
    {},
    {"conns": (3000, 6000)},
    {"conns": {0.5: 3000, 0.99: 9000}},
    {"conns": (3000, 6001), "process_model": "processes", "active_fraction": 0.1},
    {"workers": 8, "conns": 1000, "reconnects_per_s": 1e-5, "horizon_s": 3600.5},
    {"strategy": "pooled:buffers=400,pool=stack", "request_bytes": 300, "body_bytes": 0},
    {"strategy": "static:reuse=fifo", "recv": 1000, "body": 0},
]
LOAD = ("workers", "process_model", "reconnects_per_s", "horizon_s", "active_fraction")
SLOT = ("state", "recv", "body", "write")


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    return commander(capfd)


# Our own plans --------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["env", "json"])
@pytest.mark.parametrize("options", PLANS)
def test_a_plan_reads_back_as_it_was_written(
    form: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """The load, the slots and the strategy's own settings are those of the plan, field by field."""
    written = plan(**options)
    path = tmp_path / f"plan.{form}"
    path.write_text(render(written, form), encoding="utf-8")
    found = Configuration.load(str(path))
    for name in LOAD:
        assert getattr(found, name) == getattr(written.workload, name)
    assert found.conns == round(written.workload.conns.median)
    assert found.strategy == written.setting("strategy")
    assert (found.max_conn, found.max_fd) == (written.number("max_conn"), written.number("max_fd"))
    assert found.slot is None
    assert [getattr(found, name) or 0 for name in SLOT] == [
        written.layout.size_of(name) for name in SLOT
    ]
    own = options.get("strategy", "").partition(":")[2]
    assert found.settings == pairs_of(own.split(","))


@pytest.mark.parametrize("options", PLANS)
def test_both_formats_hold_one_configuration(options: dict[str, Any], tmp_path: Path) -> None:
    """Whichever was kept, the answer is the same."""
    found = []
    for form in ("env", "json"):
        path = tmp_path / form
        path.write_text(render(plan(**options), form), encoding="utf-8")
        found.append(Configuration.load(str(path)))
    assert found[0] == found[1]


@pytest.mark.parametrize("form", ["env", "json"])
def test_the_commands_read_each_others_files(command: Command, form: str, tmp_path: Path) -> None:
    """`recommend -o FILE`, then `explain --from FILE`: only what --to says is changed.

    Of connections given as a range the middle counts, not the 4,096 of a configuration that says
    nothing.
    """
    path = str(tmp_path / "plan")
    load = ("--workers", "16", "--conns", "3000..6000", "--reconnect-rate", "50/s")
    done = command("recommend", *load, "--strategy", "static", "--format", form, "-o", path)
    assert (done.code, done.out, done.err) == (0, "", "")
    found = command("explain", "--from", path, "--to", "max_conn=4096", "--format", "json")
    assert (found.code, found.err) == (0, "")
    before, after = found.json["before"], found.json["after"]
    assert (before["workers"], before["conns"], before["reconnects_per_s"]) == (16, 4500, 50.0)
    assert after == {**before, "max_conn": 4096}
    slot = sum(before.get(name, 0) for name in SLOT)
    assert found.json["virtual_bytes"] == 16 * (4096 - before["max_conn"]) * slot


@pytest.mark.parametrize("form", ["env", "json"])
def test_todays_configuration_may_be_yesterdays_plan(
    command: Command, form: str, tmp_path: Path
) -> None:
    """The plan that is in force, given as --current, changes nothing under its own load."""
    path = str(tmp_path / "plan")
    load = ("--workers", "16", "--conns", "3000")
    assert command("recommend", *load, "--format", form, "-o", path).code == 0
    again = command("recommend", *load, "--current", path, "--format", "json")
    assert (again.code, again.err) == (0, "")
    assert again.json["changes"]
    for change in again.json["changes"]:
        assert change["virtual_bytes"] == change["resident_bytes"] == change["charge_bytes"] == 0


# Lists and files ------------------------------------------------------------------------------


def test_a_list_is_read_whatever_its_blanks_case_and_dashes() -> None:
    """People type keys as options, as variables and as fields; all mean the same."""
    expected = Configuration(
        strategy="fd", max_conn=1024, recv=2 * KIB, reconnects_per_s=100.0, active_fraction=0.5
    )
    for text in (
        "strategy=fd,max_conn=1024,recv=2KiB,reconnect_rate=100/s,active=0.5",
        " STRATEGY = fd , Max-Conn = 1_024 , recv='2K' , reconnects_per_s=100, active_fraction=.5,",
        'strategy=fd\nmax_conn=1024\n\nrecv="2048"\nreconnect-rate=6000/min\nactive=5e-1',
    ):
        assert Configuration.parse(text) == expected


def test_a_file_may_have_comments_and_exports(tmp_path: Path) -> None:
    """The shell's own words around an assignment are none of ours."""
    path = tmp_path / "server.env"
    path.write_text("# ours\nexport MAX_CONN=128 # slots\n\nSLOT=12KiB\nNOFILE=4096\n")
    assert Configuration.load(str(path)) == Configuration(max_conn=128, slot=12 * KIB)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_conn", "'max_conn' is not KEY=VALUE"),
        ("max_conn=", "'max_conn=' is not KEY=VALUE"),
        ("=3", "'=3' is not KEY=VALUE"),
        ("max_conn=1,MAX-CONN=2", "max_conn is given twice"),
        ("active=1,active_fraction=1", "active and active_fraction are the same: give one of them"),
        ("max_conn=many", "max_conn: 'many' is no whole number"),
        ("max_conn=1.5", "max_conn: '1.5' is no whole number"),
        ("max_conn=²", "max_conn: '²' is no whole number"),
        ("max_conn=inf", "max_conn: 'inf' is no whole number"),
        ("max_conn=-1", "max_conn: '-1' is negative"),
        ("max_conn=0", "max_conn must be at least 1, not 0"),
        ("max_fd=0", "max_fd must be at least 1, not 0"),
        ("workers=0", "workers must be at least 1, not 0"),
        ("conns=99999999999", "conns can be at most 1,000,000,000, not 99,999,999,999"),
        ("active=nan", "active: 'nan' is no share; it must lie between 0 and 1"),
        ("active=half", "active: 'half' is no share; write 0.05"),
        ("slot=12KiX", "slot: '12KiX' is no size; write bytes, or a unit as in 12KiB"),
        ("slot=0", "slot must be at least 1, not 0"),
        ("slot=1TiB", "slot can be at most 1,073,741,824"),
        ("slot=1,recv=1", "give either slot, or its fields state, recv, body and write, not both"),
        ("horizon=soon", "horizon: 'soon' is no duration"),
        ("reconnect_rate=fast", "reconnect_rate: 'fast' is no rate"),
        ("process_model=fibres", "process_model is threads or processes, not 'fibres'"),
    ],
)
def test_a_wrong_list_is_one_clear_line(text: str, told: str) -> None:
    """What is wrong, by its key, and where it is not plain what would be right."""
    with pytest.raises(mp.UsageError) as caught:
        Configuration.parse(text)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slot=1,max_con=128", "max_con is no setting of the strategy static; it has reuse"),
        ("slot=1,strategy=slab", "there is no slot strategy 'slab'; known are static, fd, pooled"),
        ("max_conn=128", "nothing is said of the slot; give slot=12KiB, or recv, body and write"),
        ("slot=1,horizon=3d", "a horizon needs a reconnect rate"),
    ],
)
def test_a_list_that_fits_no_server_is_one_clear_line(text: str, told: str) -> None:
    """A key that no field bears must be the strategy's own, or it is a slip that is told."""
    with pytest.raises(mp.UsageError) as caught:
        what_if(text, "max_conn=64", host=HOST)
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{}", "is no plan that `memplan recommend --format json` wrote"),
        (b'{"settings": 3}', "is no plan that"),
        (b'{"settings": [{"name": "max_conn"}]}', "is no plan that"),
        (b"[" * 5, "is not KEY=VALUE"),
        (b"{" * 100_000, "is no plan that"),
        (b"\xff\xfe", "cannot be read as a file: it is not text"),
        (b"#" * (MIB + 1), "is larger than any configuration"),
        (b"MAX_CONN", "'MAX_CONN' is not KEY=VALUE"),
    ],
)
def test_a_wrong_file_is_one_clear_line(content: bytes, told: str, tmp_path: Path) -> None:
    """Whatever a file holds, nothing but a sentence comes of it."""
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(mp.UsageError) as caught:
        Configuration.load(str(path))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_told_as_both_that_it_could_be(tmp_path: Path) -> None:
    """A name without = may be a list that was mistyped, and the line says so."""
    for name in ("none", ".", ""):
        with pytest.raises(mp.UsageError, match=r"no KEY=VALUE list and cannot be read as a file"):
            Configuration.load(str(tmp_path / name))


# What one configuration leaves to another -----------------------------------------------------

counts = st.one_of(st.none(), st.integers(1, 10**6))
slots = st.one_of(
    st.fixed_dictionaries({"slot": counts}), st.fixed_dictionaries(dict.fromkeys(SLOT, counts))
)
strategies = st.sampled_from([None, "static", "fd"])


@st.composite
def configurations(draw: st.DrawFn) -> Configuration:
    """Draw a configuration that says some things and not others."""
    layout: dict[str, Any] = draw(slots)
    return Configuration(
        strategy=draw(strategies),
        workers=draw(counts),
        max_conn=draw(counts),
        rss=draw(counts),
        settings=draw(st.dictionaries(st.sampled_from("ab"), st.sampled_from("12"))),
        **layout,
    )


@given(configurations(), configurations())
def test_what_is_said_wins_and_the_rest_is_as_before(
    mine: Configuration, other: Configuration
) -> None:
    """Each field is one's own where said, but a slot of another shape is replaced whole."""
    found = mine.over(other, but=("rss",))
    replaced = {"rss"}
    if mine.slot is not None:
        replaced |= {*SLOT}
    elif mine.says_layout:
        replaced.add("slot")
    for one in fields(Configuration):
        said = getattr(mine, one.name)
        if one.name == "settings":
            kept = mine.strategy in {None, other.strategy}
            assert found.settings == {**(other.settings if kept else {}), **mine.settings}
        elif said is not None:
            assert getattr(found, one.name) == said
        elif one.name in replaced:
            assert getattr(found, one.name) is None
        else:
            assert getattr(found, one.name) == getattr(other, one.name)
    assert mine.over(Configuration()) == mine


def test_fields_said_join_the_fields_before() -> None:
    """`--to body=512` changes one buffer and leaves the others as they are."""
    before = Configuration.parse("state=128,recv=2KiB,body=4KiB,write=4KiB")
    after = Configuration.parse("body=512").over(before)
    assert after == Configuration(state=128, recv=2 * KIB, body=512, write=4 * KIB)


def test_what_is_said_is_in_the_dictionary_and_nothing_else() -> None:
    """JSON shows the keys that were given, the strategy's own among them."""
    found = Configuration.parse("strategy=static,slot=12KiB,reuse=fifo,horizon=1h")
    assert found.to_dict() == {
        "strategy": "static",
        "slot": 12 * KIB,
        "reuse": "fifo",
        "horizon_s": 3600.0,
    }
