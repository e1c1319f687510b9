"""The command line: it teaches, it answers, and what goes wrong is one line and an exit code."""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
from planning_tools import (
    Command,
    Ended,
    assert_refused,
    click_command,
    commander_elsewhere,
)
from test_live import WORKERS, connect, loopback_server, nginx, wait_for

import memplan.planner
from memplan.profiler.live import read_live_server
from memplan.reports import FORMATS

COMMANDS = ("recommend", "explain")
SMALL = ("--workers", "4", "--conns", "100")
MEASURED = ("--charge", "512=75MiB", "--charge", "4096=184MiB", "--workers", "64")
EXPLAIN = ("explain", "--from", "slot=12KiB,max_conn=64", "--to", "max_conn=128")
NO_PID = str(2**22 + 1)
"""Above the most that pid_max can be."""


@pytest.fixture
def command(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Command:
    """Return the command line, run in an empty directory on a machine that bounds nothing."""
    return commander_elsewhere(capfd, monkeypatch, tmp_path)


def examples_of(name: str) -> list[str]:
    """Return the examples that a subcommand's help shows, continued lines joined."""
    text = (click_command(name).epilog or "").replace("\\\n", " ")
    return re.findall(r"^  memplan (.*)$", text, re.MULTILINE)


def program(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401 - as run() takes them
    """Run the installed program."""
    path = Path(sys.executable).with_name("memplan")
    return subprocess.run([path, *args], text=True, timeout=60, check=False, **options)


def test_an_internal_error_is_one_line_that_asks_for_a_report(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours has its own exit code, and its traceback only where it is asked for."""

    def fail(**_: object) -> None:
        raise ZeroDivisionError("line one\nline two")

    monkeypatch.setattr(memplan.planner, "recommend", fail)
    monkeypatch.delenv("MEMPLAN_DEBUG", raising=False)
    ended = command("recommend")
    words = (
        "internal error, please report it with the command: ZeroDivisionError: line one line two"
    )
    assert (ended.code, ended.out, ended.err) == (70, "", f"memplan: {words}\n")
    monkeypatch.setenv("MEMPLAN_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        command("recommend")


# What cannot be met, measured or ended --------------------------------------------------------


def test_a_plan_that_cannot_be_met_lists_its_regions_against_the_limit(command: Command) -> None:
    """Exit code 3; the table shows what takes how much of what, so that one sees what to change."""
    ended = command("recommend", *MEASURED, "--memory-limit", "100MiB")
    assert (ended.code, ended.err) == (3, "")
    assert "memory limit" in ended.out
    assert "90 MiB" in ended.out  # less the headroom
    for region in ("process base", "slots", "sockets", "worker stacks", "kernel stacks"):
        assert region in ended.out
    found = command("recommend", *MEASURED, "--memory-limit", "100MiB", "--format", "json")
    assert (found.code, found.err, found.json["feasible"]) == (3, "", False)
    (limit,) = (one for one in found.json["constraints"] if one["name"] == "memory limit")
    assert (limit["ok"], limit["needed"] > limit["allowed"]) == (False, True)
    assert found.json["binding"] == "memory limit: cannot be met"
    assert command("recommend", *MEASURED, "--memory-limit", "1GiB").code == 0


@pytest.mark.parametrize("form", [name for name, form in FORMATS.items() if form.deployable])
def test_nothing_is_deployed_that_cannot_be_met(command: Command, form: str) -> None:
    """What configures a server is refused in one line, and no file appears."""
    ended = command("recommend", *MEASURED, "--memory-limit", "100MiB", "--format", form, "-o", "f")
    assert_refused(ended, 3)
    assert "memory limit" in ended.err
    assert not Path("f").exists()


def test_a_pid_that_is_gone_or_serves_nothing_is_one_line(command: Command) -> None:
    """Exit code 4: the wish was right, the machine could not answer."""
    gone = command("recommend", "--pid", NO_PID, "-o", "plan")
    assert_refused(gone, 4)
    assert f"there is no process {NO_PID}" in gone.err
    with subprocess.Popen(["sleep", "60"]) as idle:
        ended = command("recommend", "--pid", str(idle.pid), "-o", "plan")
        idle.kill()
    assert_refused(ended, 4)
    assert "listens on no TCP port" in ended.err
    assert not Path("plan").exists()


def test_ctrl_c_is_one_line_and_130(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt of a long computation leaves no traceback and no file."""
    monkeypatch.setattr(
        memplan.planner, "recommend", lambda **_: signal.raise_signal(signal.SIGINT)
    )
    # Whoever starts the tests in the background has them ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ended = command("recommend", "-o", "plan")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (ended.code, ended.out, ended.err.strip()) == (130, "", "memplan: interrupted")
    assert not Path("plan").exists()


def test_a_reader_that_has_gone_is_no_error() -> None:
    """`memplan .. | head -1` says nothing more, not even when Python ends."""
    for args in (("recommend", *SMALL, "--memory-limit", "1TiB"), EXPLAIN, ("--help",)):
        reader, writer = os.pipe()
        os.close(reader)
        done = program(*args, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert (done.returncode, done.stderr) == (0, "")


# What works -----------------------------------------------------------------------------------


def test_without_any_option_there_is_a_plan(command: Command) -> None:
    """A newcomer types the command alone, and gets an answer that says what it assumed."""
    ended = command("recommend")
    assert (ended.code, ended.err) == (0, "")
    for word in ("--workers", "--conns", "MAX_CONN", "4,096 connections"):
        assert word in ended.out


def test_memplan_alone_is_its_help(command: Command) -> None:
    """Who does not know any command is shown both."""
    ended = command()
    assert ended == command("--help")
    assert all(re.search(rf"^  {name} ", ended.out, re.MULTILINE) for name in COMMANDS)


def test_the_version_is_the_packages(command: Command) -> None:
    """One line, as scripts compare it."""
    ended = command("--version")
    assert (ended.code, ended.err) == (0, "")
    assert re.fullmatch(r"memplan \d+\.\d+\.\d+\S*\n", ended.out)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_plain_text_and_the_same_in_a_file(command: Command, form: str) -> None:
    """No escape sequence reaches a pipe, and -o writes what standard output would get."""
    ended = command("recommend", *SMALL, "--format", form)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.endswith("\n")
    assert "\x1b" not in ended.out
    written = command("recommend", *SMALL, "--format", form, "-o", "ünï plan")
    assert (written.code, written.out, written.err) == (0, "", "")
    text = Path("ünï plan").read_text(encoding="utf-8")
    assert "\x1b" not in text
    if form != "table":  # a file's table has its own width
        assert text == ended.out


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
def test_every_format_of_a_change_too(command: Command, form: str) -> None:
    """`explain` writes each of its formats without colours."""
    ended = command(*EXPLAIN, "--format", form)
    assert (ended.code, ended.err) == (0, "")
    assert "slots" in ended.out
    assert "\x1b" not in ended.out


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--workers 1 --conns 1", 0),
        ("--workers 1000000 --conns 1", 3),
        ("--workers 1,000 --conns 10k --weights 2x500,1x500", 0),
        ("--workers 64 --conns 1e9", 3),
        ("--workers 1000000 --conns 1e9", 3),
        ("--workers 64 --conns 1e6 --reconnect-rate 1e9/s --horizon 100y --memory-limit 1PB", 2),
        ("--workers 64 --conns 1e6 --reconnect-rate 1e9/s --horizon 100y --memory-limit 1TiB", 0),
        ("--conns 4096 --overflow 1e-300 --reconnect-rate 1/d", 0),
        ("--conns 4096 --workers 64 --request-bytes 1GiB --pipeline 1e9", 3),
    ],
)
def test_huge_and_tiny_numbers_answer_or_are_told(
    command: Command, options: str, code: int
) -> None:
    """Within the bounds there is an answer, be it that the machine cannot; above, one line."""
    ended = command("recommend", *options.split(), "--format", "json")
    if code == 2:
        assert_refused(ended, 2)
        return
    assert (ended.code, ended.err) == (code, "")
    assert ended.json["required"]["slots"] >= 1


# Help -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches(command: Command, name: str) -> None:
    """Every option stands under a heading with a sentence, and examples follow."""
    ended = command(name, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended == command(name, "-h")
    assert len(re.findall(r"^[A-Z][^\n]*:$", ended.out, re.MULTILINE)) >= 4
    for param in click_command(name).params:
        assert isinstance(param, click.Option)
        assert max(param.opts, key=len) in ended.out
        assert (param.help or "").endswith(".")
        assert getattr(param, "group", "Options") != "Options"
    for example in examples_of(name):
        assert f"memplan {example.split()[0]}" in ended.out
    assert len(examples_of(name)) >= 2
    assert max(map(len, ended.out.splitlines())) <= 100


EXAMPLES = [example for name in COMMANDS for example in examples_of(name)]


@pytest.mark.parametrize("example", [one for one in EXAMPLES if "--pid" not in one])
def test_an_example_of_the_help_works(command: Command, example: str) -> None:
    """What the help shows can be typed as it stands."""
    ended = command(*shlex.split(example))
    assert (ended.code, ended.err) == (0, "")
    assert ended.out


# Live servers ---------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Run nginx with several worker processes; yields its master's pid and port."""
    with nginx("reuseport", tmp_path_factory.mktemp("nginx")) as running:
        yield running


def measured_point(found: dict[str, Any]) -> str:
    """Return what a plan says of the one measured point of the processes' memory."""
    (words,) = (one for one in found["assumptions"] if one.startswith("the processes' memory goes"))
    return str(words)


@pytest.mark.live
def test_nginx_is_planned_from_how_it_stands(command: Command, server: tuple[int, int]) -> None:
    """Workers, connections, the memory measured and the spread's verdict are in the JSON.

    The command is the help's own example, with the pid that its shell would have put in.
    """
    pid, port = server
    (example,) = (one for one in EXAMPLES if "--pid" in one)
    args = shlex.split(example.replace('"$(pgrep -o nginx)"', str(pid)))
    with ExitStack() as stack:
        connect(stack, port, 120)
        seen = wait_for(pid, lambda seen: seen.connections == 120 and not seen.waiting)
        ended = command(*args, "--memory-limit", "1GiB")
        assert (ended.code, ended.out, ended.err) == (0, "", "")
        shown = command(
            "recommend", "--pid", str(pid), "--memory-limit", "1GiB", "--format", "json"
        )
    found = Ended(0, Path("plan.json").read_text(encoding="utf-8"), "").json
    assert (shown.code, shown.err) == (0, "")
    assert shown.json["workload"] == found["workload"]
    workload = found["workload"]
    assert (workload["workers"], workload["conns"]) == (WORKERS, 120)
    assert workload["process_model"] == "processes"
    assert f"{WORKERS} workers: the listening sockets of {seen.name}" in found["assumptions"]
    assert f"120 connections: those that {seen.name} holds now" in found["assumptions"]
    assert measured_point(found).endswith("(1 point)")
    # The plan is for the load that was measured, so its memory is what was measured.
    process = found["prediction"]["process"]
    assert process["rests_on"] != "prior"
    assert process["bytes"] == pytest.approx(seen.pss_bytes, rel=0.05)
    verdict = seen.imbalance.verdict
    (spread,) = (one for one in found["cautions"] if one["name"] in {"spread", "imbalance"})
    assert spread["text"] == f"The spread of the connections that {seen.name} holds now: {verdict}."


@pytest.mark.live
def test_threads_and_what_is_given_beside_a_pid(command: Command, tmp_path: Path) -> None:
    """A server of threads is told as one, and what the user gives wins over what it holds now."""
    where = tmp_path / "server"
    where.mkdir()
    with loopback_server("threads", where) as (pid, port), ExitStack() as stack:
        connect(stack, port, 20)
        wait_for(pid, lambda seen: seen.connections == 20 and not seen.waiting)
        live = ("recommend", "--pid", str(pid), "--memory-limit", "1GiB", "--format", "json")
        found = command(*live).json["workload"]
        given = command(*live, "--workers", "8", "--conns", "5000").json["workload"]
        assert read_live_server(pid).connections == 20
    assert (found["workers"], found["conns"], found["process_model"]) == (WORKERS, 20, "threads")
    assert (given["workers"], given["conns"], given["process_model"]) == (8, 5000, "threads")
