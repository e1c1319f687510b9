"""A benchmark's results as a file: its figures, and the machine that they were measured on.

A figure without its machine cannot be compared, so both are written together; nothing is written
that names the host or a path on it.
"""

import datetime as dt
import json
import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def write_results(path: Path, benchmark: str, figures: Mapping[str, object]) -> None:
    """Write a benchmark's figures with the machine's facts, as JSON.

    Args:
        path: The file to write; its folder is made where it is missing.
        benchmark: The name of the script, without `.py`.
        figures: What it measured, as plain data.
    """
    document = {
        "benchmark": benchmark,
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(),
        "figures": figures,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def machine() -> dict[str, str | int]:
    """Return what a reader needs to know of the machine to judge a time."""
    return {
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        # Release and no more: what a distributor appends says nothing about speed.
        "kernel": ".".join(platform.release().split(".")[:2]),
        "python": platform.python_version(),
        "numpy": version("numpy"),
    }


def _cpu() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
