"""What the planning tests share: a machine of fixed facts, and the command line in process."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pytest

import memplan as mp
from memplan.commands.main import run
from memplan.profiler.host import HostFacts, read_host
from memplan.units import GIB, MIB
from memplan.whatif import WhatIf

HOST = replace(
    read_host(),
    page_bytes=4096,
    cpus=64,
    mem_total_bytes=64 * GIB,
    commit_limit_bytes=32 * GIB,
    overcommit_memory=0,
    max_map_count=65_530,
    thp_mode="madvise",
    thp_bytes=2 * MIB,
    nofile_soft=1024,
    nofile_hard=1_048_576,
    nr_open=1_048_576,
    memory_cgroup=None,
)
"""A plain machine that bounds nothing in the tests which do not ask for it."""


def plan(host: HostFacts = HOST, **options: Any) -> mp.Plan:  # noqa: ANN401 - any option
    """Return a plan on the plain machine, for the reference server's load where none is given."""
    return mp.recommend(host=host, **{"workers": 64, "conns": 4096, **options})


def caution(found: mp.Plan | WhatIf, name: str) -> str:
    """Return the text of the one caution of a name."""
    (text,) = (one.text for one in found.cautions if one.name == name)
    return text


def names(found: mp.Plan | WhatIf) -> list[str]:
    """Return the names of the cautions, in their order."""
    return [one.name for one in found.cautions]


def constraint(found: mp.Plan, name: str) -> Any:  # noqa: ANN401 - a Constraint
    """Return the one constraint of a name."""
    (one,) = (one for one in found.constraints if one.name == name)
    return one


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - what JSON holds
        """What it wrote, as JSON."""
        return json.loads(self.out)


Command = Callable[..., Ended]


def commander(capfd: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs the command line in this process."""

    def command(*args: str) -> Ended:
        capfd.readouterr()
        code = run(list(args))
        out, err = capfd.readouterr()
        return Ended(code, out, err)

    return command


def commander_elsewhere(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: Path
) -> Command:
    """Return the same, run in another directory and on the plain machine."""
    monkeypatch.setattr("memplan.profiler.host.read_host", lambda: HOST)
    monkeypatch.chdir(where)
    monkeypatch.setenv("COLUMNS", "100")
    return commander(capfd)


def click_command(name: str) -> click.Command:
    """Return a subcommand as click has it."""
    found = getattr(import_module(f"memplan.commands.{name}"), name)
    assert isinstance(found, click.Command)
    return found


def assert_refused(ended: Ended, code: int) -> None:
    """Assert that a command ended with one line on standard error, and nothing else."""
    assert ended.code == code, ended
    assert ended.out == ""
    assert re.fullmatch(r"memplan: [^\n]{10,}\n", ended.err), ended.err
    assert "internal error" not in ended.err
    assert "Traceback" not in ended.err
