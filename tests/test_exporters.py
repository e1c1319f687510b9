"""What configures a server is read by what would read it: compilers, bash, systemd and docker."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from sample_parts import constraints, settings
from sample_plans import FEASIBLE, churn_plan, huge_plan, snapshot_plan

from memplan.plan import Plan
from memplan.planning.configuration import Configuration
from memplan.reports import render
from memplan.reports.exports import (
    HEADROOM,
    assignments,
    exports,
    identifier,
    load_assignments,
    memory_limits,
)
from memplan.slots import SlotField, SlotLayout
from memplan.units import MIB

GCC = ("gcc", "-Wall", "-Wextra", "-Werror", "-pedantic")
NO_ENGINE = {**os.environ, "DOCKER_HOST": "unix:///nonexistent/docker.sock"}
"""An address where no docker engine answers: the client has then parsed all that it was given."""


@pytest.fixture(params=FEASIBLE, ids=str)
def plan(request: pytest.FixtureRequest) -> Plan:
    """Return each of the sample plans that can be met in turn."""
    return FEASIBLE[request.param]


def needs(program: str) -> None:
    """Skip where a program is not installed."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def run(*command: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end and keep what it said."""
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=60, env=NO_ENGINE
    )


# What all of them write -----------------------------------------------------------------------


def test_every_exporter_says_where_its_numbers_come_from(plan: Plan) -> None:
    """Each file names the load, the target, the interval and what it rests on."""
    for format_name in ("env", "c", "zig", "systemd", "docker"):
        text = " ".join(re.sub(r"^(#|//!| \*|/\*)", "", line).strip()
                        for line in render(plan, format_name).splitlines())  # fmt: skip
        assert f"rests on {plan.prediction.charge.rests_on}" in text
        assert "95% interval" in text
        assert f"overflow at most {plan.overflow:g}" in text
        assert text.count("RISK:") == sum(one.severity == "risk" for one in plan.cautions)


def test_memory_limits_follow_the_interval() -> None:
    """Reclaim begins at the interval's high end; killing needs the headroom above it."""
    plan = snapshot_plan()
    limits, charge = memory_limits(plan), plan.prediction.charge
    assert limits.expected_bytes == 87 * MIB
    assert 0 <= limits.high_bytes - charge.high_bytes < MIB
    assert 0 <= limits.max_bytes - charge.high_bytes / (1 - HEADROOM) < MIB
    assert charge.bytes <= limits.expected_bytes <= limits.high_bytes <= limits.max_bytes


def test_memory_limits_stay_below_what_the_plan_was_allowed() -> None:
    """A limit given is never passed, whatever the headroom would add."""
    plan = churn_plan()
    charge = plan.prediction.charge
    tight = charge.high_bytes + 1000
    limited = replace(
        plan,
        constraints=tuple(
            replace(one, allowed=tight) if one.name == "memory limit" else one
            for one in constraints()
        ),
    )
    limits = memory_limits(limited)
    assert limits.high_bytes == limits.max_bytes == tight
    assert f"MemoryMax={tight}\n" in render(limited, "systemd")
    assert f"--memory={tight}\n" in render(limited, "docker")


def test_names_are_identifiers_and_unique(plan: Plan) -> None:
    """Whatever a setting is called, its name is one that every language takes."""
    names = [one.name for one in exports(plan)]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_][a-z0-9_]*", name) for name in names)
    assert identifier("4 Big-Words!") == "_4_big_words"
    assert identifier("§") == "unnamed"


# env ------------------------------------------------------------------------------------------


def plain_settings(plan: Plan) -> dict[str, str]:
    """Return what an environment must hold."""
    return {one.name: one.value for one in assignments(plan) if one.value is not None}


def test_bash_reads_the_environment_file(plan: Plan, tmp_path: Path) -> None:
    """`set -a; . FILE` exports exactly the settings and the load, and runs nothing."""
    path = tmp_path / "plan.env"
    path.write_text(render(plan, "env"), encoding="utf-8")
    done = subprocess.run(
        ["bash", "-euc", 'set -a; . "$1"; env -0', "bash", path],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    exported = dict(
        entry.split("=", 1) for entry in done.stdout.decode().split("\0") if "=" in entry
    )
    for name in ("PATH", "PWD", "SHLVL", "_", "OLDPWD"):
        exported.pop(name, None)
    load = {one.name: one.value for one in load_assignments(plan)}
    assert exported == {**plain_settings(plan), **load}


def test_every_line_reads_the_same_in_bash_systemd_and_docker(plan: Plan) -> None:
    """A line is a comment or NAME=value without anything that one of the three would interpret."""
    for line in render(plan, "env").splitlines():
        assert re.fullmatch(r"(#.*|[A-Z_][A-Z0-9_]*=[A-Za-z0-9_./:@%+,=-]*)?", line), line
        # systemd joins a line that ends in a backslash with the next one.
        assert not line.endswith("\\")


def test_docker_reads_the_environment_file(plan: Plan, tmp_path: Path) -> None:
    """Docker's own client takes the file with --env-file."""
    needs("docker")
    path = tmp_path / "plan.env"
    path.write_text(render(plan, "env"), encoding="utf-8")
    assert_reaches_engine(run("docker", "create", "--env-file", str(path), "image"))
    path.write_text("TWO WORDS=1\n")
    assert "contains whitespaces" in run("docker", "create", "--env-file", str(path), "i").stderr


def test_explain_reads_the_environment_file_back(tmp_path: Path) -> None:
    """The file is a configuration: slots, descriptors and buffers come back as advised."""
    path = tmp_path / "plan.env"
    path.write_text(render(snapshot_plan(), "env"), encoding="utf-8")
    found = Configuration.load(str(path))
    assert (found.strategy, found.workers, found.max_conn, found.max_fd) == (
        "static",
        64,
        256,
        8192,
    )
    assert (found.state, found.recv, found.body, found.write) == (128, 3968, 4096, 4096)


def test_a_field_may_not_take_a_name_of_the_system() -> None:
    """A slot's field called path does not replace PATH."""
    layout = SlotLayout((SlotField("path", 1024), SlotField("recv", 2048)))
    plan = snapshot_plan()
    chosen, *others = plan.strategies
    plan = replace(
        plan, settings=settings(layout), strategies=(replace(chosen, layout=layout), *others)
    )
    for format_name in ("env", "systemd", "docker"):
        text = render(plan, format_name)
        assert "PATH is not written" in text
        assert "PATH=" not in text
        assert "RECV=2048" in text
    assert "#define SLOT_PATH_BYTES 1024" in render(plan, "c")


# C --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standard", ["c11", "c17", "c2x", "c++11", "c++17"])
def test_the_header_compiles_without_a_warning(plan: Plan, standard: str, tmp_path: Path) -> None:
    """The header stands alone, may be included twice, and its assertions hold."""
    compiler = "g++" if "++" in standard else "gcc"
    needs(compiler)
    (tmp_path / "plan.h").write_text(render(plan, "c"), encoding="utf-8")
    source = tmp_path / ("use.cc" if "++" in standard else "use.c")
    source.write_text(
        '#include "plan.h"\n#include "plan.h"\n'
        "extern struct slot slots[2];\nstruct slot slots[2];\n"
        "extern const int max_conn;\nconst int max_conn = MAX_CONN;\n"
    )
    done = run(compiler, f"-std={standard}", *GCC[1:], "-fsyntax-only", str(source))
    assert done.returncode == 0, done.stderr


def test_a_compiler_sees_the_values_of_the_plan(plan: Plan, tmp_path: Path) -> None:
    """A program prints what the macros and the struct are: the plan's own numbers and texts."""
    needs("gcc")
    found = [one for one in exports(plan) if f"#define {one.name.upper()} " in render(plan, "c")]
    prints = [
        f'printf("%lld\\n", (long long){one.name.upper()});'
        if isinstance(one.value, int)
        else f"fputs({one.name.upper()}, stdout); putchar(0); putchar(10);"
        for one in found
    ]
    layout = plan.layout
    prints += [
        f'printf("%zu %zu\\n", offsetof(struct slot, {one.name}), '
        f"(size_t)SLOT_{one.name.upper()}_BYTES);"
        for one in layout.fields
    ]
    (tmp_path / "plan.h").write_text(render(plan, "c"), encoding="utf-8")
    (tmp_path / "show.c").write_text(
        '#include "plan.h"\n#include <stdio.h>\nint main(void) {\n' + "\n".join(prints) + "\n}\n"
    )
    built = run(*GCC, "-std=c11", "show.c", "-o", "show", cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    shown = subprocess.run([tmp_path / "show"], capture_output=True, check=True).stdout.decode()
    expected = [
        f"{one.value}\n" if isinstance(one.value, int) else f"{one.value}\0\n" for one in found
    ]
    expected += [
        f"{offset} {one.size_bytes}\n"
        for one, offset in zip(layout.fields, layout.offsets, strict=True)
    ]
    assert shown == "".join(expected)
    assert {"WORKERS", "MAX_CONN", "MAX_FD"} <= {one.name.upper() for one in found}


def test_a_struct_that_is_not_as_planned_does_not_compile(tmp_path: Path) -> None:
    """Whoever changes the struct and not the plan is told by the compiler."""
    needs("gcc")
    header = render(FEASIBLE["aligned"], "c")
    for changed in (
        header.replace("recv[3000];", "recv[3001];"),
        header.replace("#define SLOT_RECV_BYTES 3000", "#define SLOT_RECV_BYTES 3001"),
        header.replace("#define SLOT_PAGES_ALONE 1", "#define SLOT_PAGES_ALONE 2"),
        header.replace("    alignas(128) unsigned", "    unsigned"),
    ):
        assert changed != header
        (tmp_path / "plan.h").write_text(changed, encoding="utf-8")
        done = run("gcc", "-std=c11", "-fsyntax-only", "-x", "c", "plan.h", cwd=tmp_path)
        assert done.returncode != 0
        assert "static assertion failed" in done.stderr


# Zig ------------------------------------------------------------------------------------------


def zig(*arguments: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run zig as the Python package brings it, its cache in the test's own directory."""
    if find_spec("ziglang") is None:
        pytest.skip("the package ziglang is not installed")
    caches = {"ZIG_LOCAL_CACHE_DIR": str(cwd), "ZIG_GLOBAL_CACHE_DIR": str(cwd)}
    return subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments],
        cwd=cwd,
        env={**os.environ, **caches},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_zig_parses_the_module(plan: Plan, tmp_path: Path) -> None:
    """`zig ast-check` finds nothing to say."""
    (tmp_path / "plan.zig").write_text(render(plan, "zig"), encoding="utf-8")
    done = zig("ast-check", "plan.zig", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["snapshot", "nasty", "aligned"])
def test_zig_compiles_the_module_to_the_values_of_the_plan(name: str, tmp_path: Path) -> None:
    """A program that imports it compiles only if each constant and the struct are as planned."""
    plan = FEASIBLE[name]
    (tmp_path / "plan.zig").write_text(render(plan, "zig"), encoding="utf-8")
    checks = [
        f'if (plan.max_conn != {plan.number("max_conn")}) @compileError("max_conn");',
        f'if (plan.workers != {plan.workload.workers}) @compileError("workers");',
        "if (plan.strategy.len != 6 or plan.strategy[5] != 'c') @compileError(\"strategy\");",
        f'if (@sizeOf(plan.Slot) != {plan.layout.slot_bytes}) @compileError("size");',
        f'if (@alignOf(plan.Slot) != {plan.layout.align_bytes}) @compileError("align");',
    ]
    (tmp_path / "use.zig").write_text(
        'const plan = @import("plan.zig");\ncomptime {\n' + "\n".join(checks) + "\n}\n"
    )
    done = zig("build-obj", "-fno-emit-bin", "use.zig", cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_zig_struct_that_is_not_as_planned_does_not_compile(tmp_path: Path) -> None:
    """Whoever changes the struct and not the plan is told by the compiler."""
    text = render(FEASIBLE["aligned"], "zig")
    changed = text.replace("recv: [3000]u8", "recv: [3001]u8")
    assert changed != text
    (tmp_path / "plan.zig").write_text(changed, encoding="utf-8")
    done = zig("build-obj", "-fno-emit-bin", "plan.zig", cwd=tmp_path)
    assert done.returncode != 0
    assert "not laid out as planned" in done.stderr


# systemd --------------------------------------------------------------------------------------


def verify(drop_in: str, directory: Path) -> str:
    """Return what `systemd-analyze verify` says of a service with a drop-in."""
    needs("systemd-analyze")
    unit = directory / "server.service"
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    folder = directory / "server.service.d"
    folder.mkdir(exist_ok=True)
    (folder / "memplan.conf").write_text(drop_in, encoding="utf-8")
    done = run("systemd-analyze", "verify", "--man=no", str(unit))
    # The machine's own units may be amiss as well; only what is said of this one counts.
    return "\n".join(line for line in done.stderr.splitlines() if "server.service" in line)


def test_systemd_takes_the_drop_in(plan: Plan, tmp_path: Path) -> None:
    """No complaint comes from systemd about with the drop-in."""
    assert verify(render(plan, "systemd"), tmp_path) == ""


def test_systemd_would_have_said_what_is_wrong(tmp_path: Path) -> None:
    """The check can fail: a value that systemd does not take is named by its line."""
    for key in ("MemoryHigh", "MemoryMax", "LimitNOFILE"):
        wrong = re.sub(
            f"^{key}=.*$", f"{key}=much", render(snapshot_plan(), "systemd"), flags=re.MULTILINE
        )
        assert "much" in verify(wrong, tmp_path)


def test_the_drop_in_says_what_the_plan_says() -> None:
    """Limits, descriptors and every setting stand in the service's section."""
    lines = render(churn_plan(), "systemd").splitlines()
    assert lines.count("[Service]") == 1
    body = lines[lines.index("[Service]") + 1 :]
    values = dict(line.split("=", 1) for line in body if not line.startswith(("#", "Environment")))
    assert values == {"MemoryHigh": "277M", "MemoryMax": "307M", "LimitNOFILE": "8192"}
    environment = [line for line in body if line.startswith("Environment=")]
    assert environment == [
        f"Environment={name}={value}" for name, value in plain_settings(churn_plan()).items()
    ]
    assert any("vm.max_map_count must allow 70,123" in line for line in lines)
    assert "TasksMax=131136" in render(huge_plan(), "systemd")


# docker ---------------------------------------------------------------------------------------

GRAMMAR = {
    "--memory": r"[0-9]+[bkmg]?",
    "--memory-reservation": r"[0-9]+[bkmg]?",
    "--ulimit": r"[a-z]+=[0-9]+(:[0-9]+)?",
    "--pids-limit": r"-?[0-9]+",
    "--env": r"[A-Za-z_][A-Za-z0-9_]*=.*",
}
"""As the reference of `docker run` documents these options."""


def docker_arguments(plan: Plan, tmp_path: Path) -> list[str]:
    """Return the arguments as the file's own recipe gets them out of it: through a shell."""
    path = tmp_path / "plan.args"
    path.write_text(render(plan, "docker"), encoding="utf-8")
    script = 'printf "%s\\0" $(grep ^-- "$1")'
    done = subprocess.run(["bash", "-c", script, "bash", path], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


def assert_reaches_engine(done: "subprocess.CompletedProcess[str]") -> None:
    """Check that docker's client had no quarrel with what it was given but only with the engine."""
    assert done.returncode != 0
    # The client's wording differs between its versions.
    assert re.search(
        r"cannot connect to the docker daemon|failed to connect to the docker api"
        r"|error during connect",
        done.stderr.lower(),
    ), done.stderr


def test_arguments_follow_dockers_documented_grammar(plan: Plan, tmp_path: Path) -> None:
    """Each argument is one of the options used, with a value that its reference allows."""
    arguments = docker_arguments(plan, tmp_path)
    assert arguments[0].startswith("--memory=")
    for argument in arguments:
        option, equals, value = argument.partition("=")
        assert equals
        assert re.fullmatch(GRAMMAR[option], value), argument
    environment = [one.removeprefix("--env=") for one in arguments if one.startswith("--env=")]
    assert environment == [f"{name}={value}" for name, value in plain_settings(plan).items()]


@pytest.mark.parametrize("verb", ["create", "run"])
def test_docker_takes_the_arguments(plan: Plan, verb: str, tmp_path: Path) -> None:
    """Docker's own client parses them all; the first thing it misses is the engine."""
    needs("docker")
    assert_reaches_engine(run("docker", verb, *docker_arguments(plan, tmp_path), "image"))


def test_docker_would_have_said_what_is_wrong() -> None:
    """The check can fail: what docker does not take is refused before any engine is asked."""
    needs("docker")
    for wrong in ("--memory=much", "--ulimit=nofile=8:4", "--memry=1m", "--pids-limit=many"):
        done = run("docker", "create", wrong, "image")
        assert done.returncode != 0
        assert "connect" not in done.stderr.lower(), done.stderr
