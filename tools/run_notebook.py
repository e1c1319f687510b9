"""Run notebooks from their first cell to their last, in place; any error fails.

usage: python tools/run_notebook.py NOTEBOOK...
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main() -> None:
    """Run each notebook named on the command line and write it back with its outputs."""
    for name in sys.argv[1:]:
        path = Path(name)
        notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
        run(notebook, path.parent)
        nbformat.write(notebook, path)  # type: ignore[no-untyped-call]
        print(f"{path}: {len(notebook.cells)} cells ran")


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run a notebook's cells in a kernel of their own, and keep their outputs in it.

    Args:
        notebook: The notebook.
        folder: The folder that its code starts in.

    Raises:
        CellExecutionError: A cell failed.
    """
    metadata = notebook.metadata.copy()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": folder}}).execute()
    # When a cell ran, and with which patch release of Python, is no part of what it says.
    notebook.metadata = metadata
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


if __name__ == "__main__":
    main()
