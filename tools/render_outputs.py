"""Fill in what commands print in README.md and the docs: `python tools/render_outputs.py`.

A page marks a block whose output is real with a comment in front of it:

    <!-- output: head, Advice, MAX_CONN -->
    ```console
    $ memplan recommend --workers 64 --conns 4096
    ```

The command is run and what it prints is put below it: the sections of the report that the comment
names, or `all` of them. Where sections are left out, a line in square brackets names them; around a
single section it says no more than that there are others. Pages named on the command line are
filled; without any, all that have such blocks.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"(?P<mark><!-- output: (?P<sections>[^>]+) -->\n)```console\n"
    r"(?P<command>\$ (?:[^\n]*\\\n)*[^\n]*)\n(?P<output>.*?)```\n",
    re.DOTALL,
)
HEAD = "head"
ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A command that a page shows, and what it shows of its output.

    Attributes:
        command: The command as written, its prompt and its continued lines included.
        sections: What is shown: names of sections, `head` for the lines before the first one.
        output: What the page shows.
    """

    command: str
    sections: tuple[str, ...]
    output: str

    @classmethod
    def of(cls, match: re.Match[str]) -> "Block":
        """Return the block that the pattern found."""
        names = tuple(name.strip() for name in match["sections"].split(","))
        return cls(command=match["command"], sections=names, output=match["output"])

    def fresh(self) -> str:
        """Return what the block should show now.

        Raises:
            ValueError: A section is named that the command does not print.
        """
        printed = run(self.command)
        return printed if self.sections == (ALL,) else shortened(printed, self.sections)


def pages() -> list[Path]:
    """Return the pages that show what commands print."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    return [page for page in found if blocks(page.read_text(encoding="utf-8"))]


def blocks(text: str) -> list[Block]:
    """Return the marked blocks of a page."""
    return [Block.of(match) for match in BLOCK.finditer(text)]


def run(command: str) -> str:
    """Return what a command prints for somebody who has the virtual environment on the path.

    Raises:
        RuntimeError: It ended with another code than the one that its comment `# exits N` says.
    """
    text, _, code = command.removeprefix("$ ").replace("\\\n", " ").partition(" # exits ")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(  # noqa: S603 - the pages are ours
        ["bash", "-c", text],  # noqa: S607 - found on PATH, as a reader finds it
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != int(code or 0):
        raise RuntimeError(f"'{text}' ended with {done.returncode}: {done.stderr}")
    return done.stdout


def sections_of(printed: str) -> dict[str, str]:
    """Return a report's sections by name, each with its title; the head has none."""
    found, name, lines = {}, HEAD, list[str]()
    for line in printed.splitlines():
        # A title is a line at the margin after a blank one; all else is indented or in the head.
        if line and not line.startswith(" ") and lines and not lines[-1]:
            found[name], name, lines = "\n".join(lines).rstrip(), line, []
        lines.append(line)
    found[name] = "\n".join(lines).rstrip()
    return found


def shortened(printed: str, names: tuple[str, ...]) -> str:
    """Return the sections named, in the report's order, with a mark where others were left out.

    Raises:
        ValueError: A section is named that is not there.
    """
    found = sections_of(printed)
    if missing := set(names) - found.keys():
        raise ValueError(f"no section {', '.join(sorted(missing))}; there are {', '.join(found)}")
    return "\n\n".join(_marked(found, names)) + "\n"


def _marked(found: dict[str, str], names: tuple[str, ...]) -> Iterator[str]:
    left_out: list[str] = []
    for name, text in found.items():
        if name not in names:
            left_out.append(name)
            continue
        if left_out:
            yield _mark(left_out, names)
            left_out = []
        yield text
    if left_out:
        yield _mark(left_out, names)


def _mark(left_out: list[str], names: tuple[str, ...]) -> str:
    return "[...]" if len(names) == 1 else f"[left out here: {', '.join(left_out)}]"


def filled(text: str) -> str:
    """Return a page with each marked block as it should be now."""

    def replace(match: re.Match[str]) -> str:
        block = Block.of(match)
        return f"{match['mark']}```console\n{block.command}\n{block.fresh()}```\n"

    return BLOCK.sub(replace, text)


def main() -> None:
    """Fill the pages named on the command line, or all of them."""
    for page in [Path(name) for name in sys.argv[1:]] or pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(filled(text), encoding="utf-8")
        print(f"{page.name}: {len(blocks(text))} outputs")


if __name__ == "__main__":
    main()
