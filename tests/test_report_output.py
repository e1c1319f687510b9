"""A report goes to a terminal, a pipe or a file as each needs it, and whole or not at all."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sample_plans import FEASIBLE, churn_plan, infeasible_plan, snapshot_plan

from memplan.errors import PlanError, UsageError
from memplan.reports import FORMATS, render, write
from memplan.reports.output import plain
from memplan.reports.table import report_lines

ROOT = Path(__file__).parent.parent
ESCAPE = "\x1b"


def on_terminal(columns: int, **environment: str) -> str:
    """Return what a terminal of so many columns is sent for the churn plan's table."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from sample_plans import churn_plan\n"
        "from memplan.reports import write\n"
        "write(churn_plan(), 'table')\n"
    )
    master, slave = pty.openpty()
    clean = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}}
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=slave,
        env={**clean, "TERM": "xterm-256color", "COLUMNS": str(columns), **environment},
    )
    os.close(slave)
    sent = b""
    with os.fdopen(master, "rb", buffering=0) as terminal:
        while True:
            try:
                part = terminal.read(65536)
            except OSError:  # Linux says EIO when the other end of a terminal has gone.
                break
            if not part:
                break
            sent += part
    assert child.wait(timeout=30) == 0
    return sent.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colours_and_the_same_text() -> None:
    """On a terminal the words are those of the plain table, with colours around them."""
    sent = on_terminal(100)
    assert f"{ESCAPE}[1" in sent
    bare = re.sub(rf"{ESCAPE}\[[0-9;]*m", "", sent)
    assert bare == plain(report_lines(churn_plan(), 100))


def test_no_color_is_honoured() -> None:
    """NO_COLOR takes the colours away; a dumb terminal gets none either."""
    assert not re.search(rf"{ESCAPE}\[[0-9;]*3[0-9]", on_terminal(100, NO_COLOR="1"))
    assert ESCAPE not in on_terminal(100, TERM="dumb")


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_pipe_gets_plain_text(
    format_name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into a pipe no escape is written, not even one that a plan's own text brings along."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    write(FEASIBLE["nasty"], format_name)
    written = capsys.readouterr().out
    assert ESCAPE not in written
    assert written.endswith("\n")


def test_another_encoding_gets_plain_letters() -> None:
    """A terminal without these letters is given others, not an error."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "from sample_plans import churn_plan\n"
        "from memplan.reports import write\n"
        "write(churn_plan(), 'table')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert "  >  memory limit" in done.stdout.decode("ascii")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    """The file has the text, its permissions stay, and nothing else is left in the directory."""
    path = tmp_path / "plan.json"
    path.write_text("old")
    path.chmod(0o640)
    write(churn_plan(), "json", path)
    assert path.read_text(encoding="utf-8") == render(churn_plan(), "json")
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_obeys_the_umask(tmp_path: Path) -> None:
    """A file that was not there gets the permissions of any new file."""
    old = os.umask(0o027)
    try:
        write(snapshot_plan(), "env", tmp_path / "new.env")
    finally:
        os.umask(old)
    assert (tmp_path / "new.env").stat().st_mode & 0o777 == 0o640


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full the old content stays and no half file is left behind."""
    path = tmp_path / "plan.env"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UsageError, match="no space left on device"):
        write(snapshot_plan(), "env", path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_followed_and_a_pipe_is_written_to(tmp_path: Path) -> None:
    """A symbolic link keeps pointing where it did; what is no file is not replaced by one."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write(snapshot_plan(), "env", link)
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8") == render(snapshot_plan(), "env")
    write(snapshot_plan(), "env", "/dev/null")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing/plan.json", "there is no directory"), (".", "is a directory")],
)
def test_a_file_that_cannot_be_written_is_one_line(tmp_path: Path, path: str, reason: str) -> None:
    """The error says which file and why, in one line."""
    with pytest.raises(UsageError, match=reason) as error:
        write(snapshot_plan(), "json", tmp_path / path)
    assert "\n" not in str(error.value)


def test_an_unknown_format_names_the_known_ones() -> None:
    """A wrong format is the user's error and lists what would be right."""
    with pytest.raises(UsageError, match="table, json, csv, markdown, env, c, zig"):
        render(snapshot_plan(), "yaml")


@pytest.mark.parametrize("format_name", [name for name in FORMATS if FORMATS[name].deployable])
def test_nothing_deployable_is_written_for_a_plan_that_cannot_be_met(
    format_name: str, tmp_path: Path
) -> None:
    """A file that would configure a server is refused, and the broken constraint named."""
    with pytest.raises(PlanError, match="memory limit"):
        write(infeasible_plan(), format_name, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_a_format_is_imported_only_when_it_is_asked_for() -> None:
    """The registry loads no format, and a table for a pipe needs no rich."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n"
        "import memplan.reports\n"
        "loaded = {n for n in sys.modules if n.startswith(('memplan.reports.', 'rich'))}\n"
        "assert not loaded, loaded\n"
        "from sample_plans import churn_plan\n"
        "memplan.reports.write(churn_plan(), 'table')\n"
        "assert 'rich' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
