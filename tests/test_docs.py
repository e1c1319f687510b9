"""What README and docs show is what a reader gets: every command and every Python example runs.

A fenced block marked `console` holds commands behind `$ ` and what they print; a command that is
meant to fail says so with `# exits N`. A block marked `python` runs in order with the others of its
page. Commands of `make` are the tests themselves and are not run again.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
NOT_RUN = ("make ", "git clone ", "cd ")


def commands(page: Path) -> list[str]:
    """Return the commands of a page, continued lines joined."""
    found = []
    for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")):
        if kind == "console":
            joined = body.replace("\\\n", " ")
            found += [line[2:] for line in joined.splitlines() if line.startswith("$ ")]
    return [command for command in found if not command.startswith(NOT_RUN)]


def environment() -> dict[str, str]:
    """Return the environment of a reader who has the virtual environment on the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "COLUMNS": "100"}


CASES = [(page, command) for page in PAGES for command in commands(page)]


@pytest.mark.parametrize(
    ("page", "command"), CASES, ids=[f"{page.name}: {command[:60]}" for page, command in CASES]
)
def test_a_command_of_the_docs_runs(page: Path, command: str, tmp_path: Path) -> None:
    """Each command that a page shows ends as the page says, and no traceback is seen."""
    text, _, note = command.partition(" # exits ")
    expected = int(note) if note else 0
    for folder in ("docs", "notebooks", "tests"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    done = subprocess.run(
        ["bash", "-c", text],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == expected, f"{page.name}: {text}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr


def test_the_pages_show_commands() -> None:
    """The pattern above finds what it looks for: the main command stands in the README."""
    names = {shlex.split(command)[0] for _, command in CASES}
    assert "memplan" in names
    readme = [command for page, command in CASES if page.name == "README.md"]
    assert any(
        command.startswith("memplan recommend --workers 64 --conns 4096") for command in readme
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_the_docs_runs(page: Path) -> None:
    """The Python blocks of a page run one after the other, and their assertions hold."""
    blocks = [
        body for kind, body in BLOCK.findall(page.read_text(encoding="utf-8")) if kind == "python"
    ]
    if blocks:
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(blocks)],
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_house_lead_somewhere(page: Path) -> None:
    """A relative link of a page names a file that is there."""
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
