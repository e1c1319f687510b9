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
        notebook = nbformat.read(path, as_version=4)
        NotebookClient(
            notebook, timeout=300, resources={"metadata": {"path": path.parent}}
        ).execute()
        for cell in notebook.cells:
            # When a cell ran is no part of what it says.
            cell.metadata.pop("execution", None)
        nbformat.write(notebook, path)
        print(f"{path}: {len(notebook.cells)} cells ran")


if __name__ == "__main__":
    main()
