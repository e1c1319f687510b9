"""Wrong input of every option is one line, exit code 2, and leaves nothing behind."""

from pathlib import Path

import pytest
from planning_tools import (
    Command,
    assert_refused,
    click_command,
    commander_elsewhere,
)

SMALL = ("--workers", "4", "--conns", "100")
EXPLAIN = ("explain", "--from", "slot=12KiB,max_conn=64", "--to", "max_conn=128")

NO_COUNT = (
    "",
    " ",
    "many",
    "nan",
    "inf",
    "-1",
    "1.5",
    "1e400",
    "9" * 30,
    "²",
    "ünï",
    "1,2,3",
    "0x10",
)
NO_SIZE = ("", "big", "nan", "inf", "-1", "1e400", "9" * 30, "12KiX", "½KiB", "0.1", "1,000")
NO_SHARE = ("", "some", "nan", "inf", "-0.1", "1.1", "101%", "-1e-9", "½")
NO_TIME = ("", "soon", "nan", "inf", "-1s", "1e400", "3 fortnights", "1y1d", "9e99y")
WRONG: dict[str, tuple[str, ...]] = {
    "--workers": (*NO_COUNT, "0", "1000001"),
    "--conns": (*NO_COUNT, "0", "1000000001", "5..3", "5..", "p50=4,p99=3", "p50=1,p50=2", "q1=3"),
    "--reconnect-rate": ("", "fast", "nan", "inf", "-1", "1e400", "5/fortnight", "9e99/s"),
    "--horizon": (*NO_TIME, "0", "30d"),
    "--process-model": ("", "fibres"),
    "--overflow": (*NO_SHARE, "0", "1"),
    "--memory-limit": (*NO_SIZE, "0"),
    "--headroom": (*NO_SHARE, "1"),
    "--strategy": ("", "slab", "auto:reuse=fifo", "static:reuse", "static:reuse=mru", "fd:a=b"),
    "--rss": ("", "512", "512=", "=75MiB", "512=-1", "many=75MiB", "512=nan", "inf=75MiB"),
    "--charge": ("", "512", "512=", "=75MiB", "512=-1", "many=75MiB", "512=nan", "inf=75MiB"),
    "--pid": (*NO_COUNT, "0"),
    "--current": ("", "none.env", "max_conn=many", "slot=1,max_con=3", "slot=1,slot=2", "."),
    "--request-bytes": (*NO_SIZE, "5..3", "p50=9,p99=3"),
    "--body-bytes": (*NO_SIZE, "5..3", "p101=3"),
    "--response-bytes": (*NO_SIZE, "5..3", "p=3"),
    "--pipeline": (*NO_COUNT, "0", "5..3"),
    "--client-tuples": (*NO_COUNT, "0", "99"),
    "--client-addresses": (*NO_COUNT, "0"),
    "--ports-per-address": (*NO_COUNT, "0"),
    "--balance": ("", "fair"),
    "--weights": ("", "1", "1,1,1,1,1", "1,1,1,0", "1,1,1,-1", "nan,1,1,1", "infx4", "1x0", "x4"),
    "--workers-lost": (*NO_COUNT, "4"),
    "--population": ("", "ajar"),
    "--linger": (*NO_TIME, "2y"),
    "--deploy-overlap": ("yes",),
    "--active": NO_SHARE,
    "--slow": NO_SHARE,
    "--tls-bytes": (*NO_SIZE, "2GiB"),
    "--backlog": (*NO_COUNT, "1e10"),
    "--max-conn": (*NO_COUNT, "0", "1e10"),
    "--max-fd": (*NO_COUNT, "0", "1e10"),
    "--state": (*NO_SIZE, "2GiB"),
    "--recv": (*NO_SIZE, "2GiB"),
    "--body": (*NO_SIZE, "2GiB"),
    "--write": (*NO_SIZE, "2GiB"),
    "--pin": ("", "base", "base=", "=1", "roof=1MiB", "base=-1", "base=nan"),
    "--format": ("", "yaml"),
    "--output": ("", ".", "none/plan.json"),
}
WRONG_EXPLAIN: dict[str, tuple[str, ...]] = {
    "--from": ("", "none.env", ".", "slot", "slot=1,slot=2", "slot=nan", "slot=1,a=b", "conns=0"),
    "--to": ("", "none.env", ".", "slot", "slot=1,slot=2", "max_conn=inf", "a=b", "strategy=slab"),
    "--workers": (*NO_COUNT, "0", "1000001"),
    "--conns": (*NO_COUNT, "0", "1000000001"),
    "--reconnect-rate": ("", "fast", "nan", "inf", "-1", "1e400"),
    "--horizon": (*NO_TIME, "30d"),
    "--format": ("", "csv"),
    "--output": ("", ".", "none/changes.json"),
}


@pytest.fixture
def command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    """Return the command line, run in an empty directory on a machine that bounds nothing."""
    return commander_elsewhere(capfd, monkeypatch, tmp_path)


def options_of(name: str) -> set[str]:
    """Return a subcommand's options by their long names."""
    return {max(one.opts, key=len) for one in click_command(name).params}


def test_each_option_has_wrong_values_here() -> None:
    """An option that is added must be tried with what people mistype."""
    assert options_of("recommend") == WRONG.keys()
    assert options_of("explain") == WRONG_EXPLAIN.keys()


@pytest.mark.parametrize("option", WRONG)
def test_a_wrong_value_is_one_line_and_nothing_is_written(command: Command, option: str) -> None:
    """Exit code 2, the option or what it fills named, no traceback, no file."""
    output = () if option == "--output" else ("-o", "plan.json")
    for value in WRONG[option]:
        # "--option=value", as a value may begin with a dash.
        assert_refused(command("recommend", *SMALL, *output, f"{option}={value}"), 2)
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize("option", WRONG_EXPLAIN)
def test_a_wrong_configuration_is_one_line_too(command: Command, option: str) -> None:
    """`explain` refuses as `recommend` does."""
    output = () if option == "--output" else ("-o", "changes.json")
    for value in WRONG_EXPLAIN[option]:
        assert_refused(command(*EXPLAIN, *output, f"{option}={value}"), 2)
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nope", "No such command 'nope' (see memplan --help)"),
        ("--nope", "No such option '--nope' (see memplan --help)"),
        ("recommend --nope", "No such option '--nope' (see memplan recommend --help)"),
        ("recommend --workers", "Option '--workers' requires an argument"),
        ("recommend more", "Got unexpected extra argument (more)"),
        ("recommend --pin base=1 --pin base=2", "a cost is pinned twice"),
        ("recommend --conns p50=1,p50=2", "Invalid value for '--conns': p50 is given twice"),
        ("recommend --horizon 30d", "a horizon needs a reconnect rate"),
        ("explain", "Missing option '--from'"),
        ("explain --from slot=1", "Missing option '--to'"),
        ("explain --from max_conn=1 --to max_conn=2", "nothing is said of the slot"),
        ("recommend --state 0 --recv 0 --body 0 --write 0", "a slot needs at least one field"),
    ],
)
def test_a_slip_is_told_with_what_would_help(command: Command, line: str, told: str) -> None:
    """What was not understood stands first, where to look it up last."""
    ended = command(*line.split())
    assert_refused(ended, 2)
    assert ended.err.startswith(f"memplan: {told}")
