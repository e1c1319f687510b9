"""The house keeps its shape: who may import whom, what a start may load, what words are used."""

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "memplan"

# Lower may not know higher. A name stands for the module or the package of that name.
LAYERS = (
    {"errors", "units", "bounds", "quantity", "answer", "native", "descriptors", "constraint"},
    {"workload"},
    # How many connections a worker gets, at one moment and over time.
    {"statistics", "reuseport_model"},
    # Where a connection's bytes live.
    {"slot_layout", "slot_limits", "slot_load", "slot_pages", "slots", "strategies"},
    # What a server takes in all.
    {"memory", "memory_model"},
    {"plan"},
    {"planning", "planner", "whatif"},
    {"reports"},
    {"commands"},
)
# The measuring half knows only the ground floor; it asks the statistics for a p-value by name.
PROFILER_MAY = {"errors", "units", "profiler", "statistics"}


def modules() -> list[Path]:
    """Return the package's Python files."""
    return sorted(PACKAGE.rglob("*.py"))


def noun(path: Path) -> str:
    """Return the top-level name that a file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path, *, at_import: bool = False) -> set[str]:
    """Return the full names that a file imports, in all or only when it is itself imported."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped: set[ast.AST] = set()
    if at_import:
        for node in ast.walk(tree):
            lazy = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            )
            if lazy:
                skipped.update(ast.walk(node))
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def layer_of(name: str) -> int | None:
    """Return the layer of a top-level name; None for those of no layer."""
    return next((i for i, layer in enumerate(LAYERS) if name in layer), None)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """A module imports its own layer or a lower one when it is imported."""
    own = layer_of(noun(path))
    if own is None:
        return
    for name in imported(path, at_import=True):
        parts = name.split(".")
        if parts[0] == "memplan" and len(parts) > 1:
            other = layer_of(parts[1])
            assert other is None or other <= own, f"{path.name} imports {name} from above"


def test_every_module_has_its_layer() -> None:
    """A new module is given a place in the house before it lands."""
    placed = set().union(*LAYERS) | {"__init__", "profiler"}
    assert {noun(path) for path in modules()} <= placed


def test_the_measuring_half_stands_alone() -> None:
    """The profiler imports nothing of the planning half but the name of a test statistic."""
    for path in (PACKAGE / "profiler").rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            if parts[0] == "memplan" and len(parts) > 1:
                assert parts[1] in PROFILER_MAY, f"{path.name} imports {name}"


def test_nothing_imports_the_commands_and_reports_compute_nothing() -> None:
    """Commands are on top; a report may not reach for a model."""
    for path in modules():
        names = imported(path)
        if noun(path) != "commands":
            assert not any(name.startswith("memplan.commands") for name in names), path
        if noun(path) == "reports":
            forbidden = (
                "memplan.planner",
                "memplan.reuseport_model",
                "memplan.statistics",
                "numpy",
            )
            assert not any(name.startswith(forbidden) for name in names), path


def test_a_recommendation_loads_nothing_heavy() -> None:
    """`memplan recommend` imports neither scipy nor matplotlib, nor cffi and psutil unused."""
    script = (
        "import sys\n"
        "from memplan.commands.main import run\n"
        "code = run(['recommend', '--workers', '64', '--conns', '4096'])\n"
        "heavy = {'scipy', 'matplotlib', 'cffi', '_cffi_backend', 'psutil', 'pandas', 'IPython'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)), code, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip().splitlines()[-1] == "loaded: [] 0"


def test_help_loads_not_even_numpy() -> None:
    """`memplan --help` starts with the command line's library alone."""
    script = (
        "import sys\n"
        "from memplan.commands.main import run\n"
        "run(['--help'])\n"
        "print(sorted({'numpy', 'rich', 'scipy'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_each_option_is_a_field_of_the_library() -> None:
    """Command line, library and JSON say the same words."""
    from memplan.commands.recommend import recommend
    from memplan.planning.goals import Evidence, Goals
    from memplan.workload import Traffic, Workload

    words = {
        field.name
        for kind in (Workload, Traffic, Goals, Evidence)
        for field in dataclasses.fields(kind)
    }
    options = {param.name for param in recommend.params}
    assert options - words == {"format_name", "output"}
    assert words - options == {"traffic"}


def test_no_file_has_grown_too_long() -> None:
    """A reader gets through any file in one sitting."""
    files = [*modules(), *(ROOT / "csrc").glob("*.[ch]"), *(ROOT / "tests").glob("*.py")]
    long = {str(path): len(path.read_text().splitlines()) for path in files}
    assert {name: lines for name, lines in long.items() if lines > 450} == {}
