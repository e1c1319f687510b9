"""Render docs/benchmarks.md from the results: `python tools/render_benchmarks.py`.

The results in benchmarks/results/ are what the scripts wrote with `-o`. Nothing is measured here,
and a test keeps the page in step with them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memplan.units import MIB

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"

HEAD = """\
# Benchmarks

Each script in `benchmarks/` prints what is shown here, and `-o FILE` writes it as JSON;
`make bench` runs them all. This page is rendered from the results in `benchmarks/results/`. Times
hang on the machine, so they stand beside a named peer or beside what is allowed. Figures that are
no times come out the same anywhere.
"""


def page() -> str:
    """Return the page."""
    return "\n".join(
        [
            HEAD,
            *_cold_start(_result("cold_start")),
            *_quantiles(_result("quantiles")),
            *_churn_simulation(_result("churn_simulation")),
            *_extrapolation(_result("extrapolation")),
        ]
    )


def _result(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return result


def _measured(result: dict[str, Any]) -> str:
    machine = result["machine"]
    return (
        f"Measured on {result['date']}: {machine['cpus']} CPUs ({machine['cpu']}), "
        f"Linux {machine['kernel']}, Python {machine['python']}, numpy {machine['numpy']}."
    )


def _cold_start(result: dict[str, Any]) -> Iterator[str]:
    one = result["figures"]
    ratio, cpu, bare = one["ratio"], one["cpu_ratio"], one["ratio_one_thread"]
    verdict = "holds" if ratio["value"] <= one["target"] else "**does not hold**"
    yield f"""\
## Cold start

`python benchmarks/cold_start.py`: how long the command takes from its start to its end, against a
Python that imports numpy and does nothing else. {one["rounds"]} rounds in turn, with the bytecode
cached; medians. Ratios are taken round by round, and their intervals made of order statistics.

| | elapsed | CPU |
|---|---:|---:|
| `memplan recommend --workers 64 --conns 4096` | {_times(one["memplan"])} |
| `python -c "import numpy"` | {_times(one["numpy"])} |
| the same with one thread | {_times(one["one_thread"])} |
| **memplan over numpy** | {_ratio(ratio)} | {cpu["value"]:.2f} |
| memplan over numpy with one thread | {_ratio(bare)} | |

At most {one["target"]} is allowed: that {verdict}.

numpy starts a thread for each CPU when it is imported. The command tells it not to, as its matrices
are small and waking threads for them took a third of its CPU time. The last row is without that
advantage.

{_measured(result)}
"""


def _ratio(ratio: dict[str, float]) -> str:
    return f"{ratio['value']:.2f} ({ratio['level']:.1%}: {ratio['low']:.2f} to {ratio['high']:.2f})"


def _times(run: dict[str, float]) -> str:
    return f"{_ms(run['wall_s'])} | {_ms(run['cpu_s'])}"


def _quantiles(result: dict[str, Any]) -> Iterator[str]:
    yield """\
## Quantiles of the fullest worker

`python benchmarks/quantiles.py`: the fewest slots that hold a target at one moment, beside a Monte
Carlo by numpy. A process's first answer is slower than the later ones. The draws are a million, or
as many as the time allows; the time of a million is then reckoned from these. Draws that have never
seen an overflow say no more of its chance than the upper bound in the last column.

| workers | connections | target | slots | chance | first answer | median | allowed | 10⁶ draws \
| over | by the draws, 95% |
|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""
    for row in result["figures"]["rows"]:
        yield (
            f"| {row['workers']:,} | {row['conns']:,} | {row['overflow']:g} | {row['slots']:,} "
            f"| {row['chance']:.9e} | {row['first_ms']:.2f} ms | {row['median_ms']:.2f} ms "
            f"| {row['allowed_ms']:,.0f} ms | {row['draws_s']:,.0f} s "
            f"| {row['seen']:,} of {row['draws']:,} | at most {row['seen_at_most']:.1e} |"
        )
    yield f"\n{_measured(result)}\n"


def _churn_simulation(result: dict[str, Any]) -> Iterator[str]:
    one = result["figures"]
    yield f"""\
## Churn: the formulas against a simulation at full scale

`python benchmarks/churn_simulation.py --repeats {one["repeats"]}`: {one["workers"]} workers and \
{one["conns"]:,} connections with
{one["reconnects_per_s"]:,.0f} reconnects/s for {one["horizon_s"]:g} s, {one["repeats"]:,} times \
over: {one["events"]:,} reconnects, each of them
played, in {one["took_s"]:.0f} s.

The chance that some worker overflows, by formula and as a share of the repeats. Of 95% intervals
one in twenty misses by chance; all rows are of the same repeats, so they miss together.

| MAX_CONN | low | point | high | simulated | its 95% interval | point inside |
|---:|---:|---:|---:|---:|---:|---|"""
    for row in one["overflows"]:
        inside = row["simulated_low"] <= row["point"] <= row["simulated_high"]
        yield (
            f"| {row['max_conn']} | {row['low']:.4g} | {row['point']:.4g} | {row['high']:.4g} "
            f"| {row['simulated']:.4g} | {row['simulated_low']:.4g} to {row['simulated_high']:.4g} "
            f"| {'yes' if inside else 'no'} |"
        )
    yield """
The slots that one worker has touched, in the mean:

| after | formula | simulated | standard error |
|---:|---:|---:|---:|"""
    for high in one["high_waters"]:
        yield (
            f"| {high['after_s']:g} s | {high['formula']:.3f} | {high['simulated']:.3f} "
            f"| {high['standard_error']:.3f} |"
        )
    yield """
What a simulated reconnect costs:

| simulation | ns an event |
|---|---:|"""
    for speed in one["speeds"]:
        yield f"| {speed['simulation']} | {speed['ns_an_event']:.1f} |"
    yield f"\n{_measured(result)}\n"


def _extrapolation(result: dict[str, Any]) -> Iterator[str]:
    one = result["figures"]
    plan, other, rows = one["plan"], one["conformal"], one["rows"]
    better = (
        1 - plan[score] / other[score] for score in ("score_bytes", "score_of_line", "score_log")
    )
    yield f"""\
## Extrapolating measured memory

`python benchmarks/extrapolation.py CSV`: published memory of {one["servers"]} servers at 512,
4,096 and 16,384 connections ({rows} rows; the data are not part of this repository). Each server is
left out in turn, everything is learnt from the others, and its third point is predicted from its
first two.
The yardstick is the symmetric conformal interval around the straight line. The interval score
(Winkler) is the width plus 40 times what the truth lies outside: less is better.
[How the interval is made](memory.md#what-an-honest-interval-for-an-extrapolation-is).

| | third point held | score, MiB | score / line | score, log scale |
|---|---:|---:|---:|---:|
| {_scores("plan", plan, rows)} |
| {_scores("symmetric conformal", other, rows)} |
| better by | | {" | ".join(f"{share:.1%}" for share in better)} |

| predicted | held |
|---|---:|
| the second point from the outer two | {one["second_held"]} of {rows} |
| the first point from the last two | {one["first_held"]} of {rows} |
| each point from each other one alone | {one["from_one_held"]} of {one["from_one"]} |
| each point from the other servers only | {one["from_none_held"]} of {one["from_none"]} |
"""


def _scores(name: str, one: dict[str, Any], rows: int) -> str:
    return (
        f"{name} | {one['held']} of {rows} | {one['score_bytes'] / MIB:,.0f} "
        f"| {one['score_of_line']:.3f} | {one['score_log']:.3f}"
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.0f} ms"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: rendered from {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
