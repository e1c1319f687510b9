"""Draw the README's picture from the library's own numbers: `python tools/draw_picture.py`.

The chance that some worker runs out of slots, against MAX_CONN: at one moment and within three
horizons. It is drawn twice, for light and for dark pages. The chances at the marks are written into
the files as well, so that a test can hold them against the library.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from memplan.answer import Answer
from memplan.reuseport_model import ReuseportModel
from memplan.units import DAY, HOUR

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "images"
MODEL = ReuseportModel(workers=64, conns=4096, reconnects_per_s=260_000)
TARGET = 1e-6
SLOTS = range(84, 153)
LEAST = 1e-10
NAMED_AT = 2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One curve, and the mark where it comes below the target.

    Attributes:
        name: What the chance is of.
        horizon_s: The time that it is over, in seconds; None for one moment.
        mark: The fewest slots that hold the target over it, where that is told of.
        mark_name: What to say of the mark.
        tone: Index of its colour in a theme.
    """

    name: str
    horizon_s: float | None
    mark: int | None = None
    mark_name: str = ""
    tone: int

    def chance(self, max_conn: int) -> Answer:
        """Return the chance that some worker needs more slots."""
        if self.horizon_s is None:
            return MODEL.overflow_probability(max_conn)
        return MODEL.overflow_within(max_conn, self.horizon_s)


CURVES = (
    Curve(name="at one moment", horizon_s=None, mark=112, mark_name="one moment", tone=0),
    Curve(name="15 s", horizon_s=15.0, mark=128, mark_name="a benchmark", tone=1),
    Curve(name="1 hour", horizon_s=HOUR, tone=2),
    Curve(name="30 days", horizon_s=30 * DAY, mark=144, mark_name="a month", tone=3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Theme:
    """Colours for one kind of page; the picture's own ground is left clear."""

    ink: str
    faint: str
    ground: str
    tones: tuple[str, str, str, str]


THEMES = {
    "light": Theme(
        ink="#1f2328",
        faint="#656d76",
        ground="#ffffff",
        tones=("#6e7781", "#0969da", "#8250df", "#cf222e"),
    ),
    "dark": Theme(
        ink="#e6edf3",
        faint="#8d96a0",
        ground="#0d1117",
        tones=("#9198a1", "#4493f8", "#ab7df8", "#ff7b72"),
    ),
}


def marked_chances() -> dict[str, dict[str, float]]:
    """Return the chance of each curve at each mark."""
    marks = [curve.mark for curve in CURVES if curve.mark is not None]
    return {
        curve.name: {str(mark): float(f"{curve.chance(mark).value:.6g}") for mark in marks}
        for curve in CURVES
    }


def draw(theme: Theme, answers: Mapping[str, list[Answer]]) -> Figure:
    """Return the picture in one theme.

    Args:
        theme: Its colours.
        answers: The chances of each curve, one for each of `SLOTS`.
    """
    figure = Figure(figsize=(8.6, 4.5))
    axes = figure.add_axes((0.085, 0.12, 0.9, 0.745))
    # The names of the curves need to know where the axes lie.
    _dress(axes, theme)
    for curve in CURVES:
        _draw_curve(axes, theme, curve, answers[curve.name])
    axes.axhline(TARGET, color=theme.faint, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.text(SLOTS[0] + 0.6, TARGET * 1.35, "one in a million", color=theme.faint, fontsize=9)
    for curve in CURVES:
        _draw_mark(axes, theme, curve)
    return figure


def _draw_curve(axes: Any, theme: Theme, curve: Curve, answers: list[Answer]) -> None:  # noqa: ANN401 - matplotlib has no types
    tone = theme.tones[curve.tone]
    axes.plot(SLOTS, [one.value for one in answers], color=tone, linewidth=2)
    axes.fill_between(
        SLOTS,
        [one.low for one in answers],
        [one.high for one in answers],
        color=tone,
        alpha=0.25,
        linewidth=0,
    )
    # The curve's name lies along it, where it has no mark.
    at = next(i for i, one in enumerate(answers) if one.value < NAMED_AT)
    ends = [(SLOTS[i], answers[i].value) for i in (at - 1, at + 1)]
    (left, top), (right, bottom) = axes.transData.transform(ends)
    axes.annotate(
        curve.name,
        (SLOTS[at], answers[at].value),
        xytext=(3, 3),
        textcoords="offset points",
        rotation=math.degrees(math.atan2(bottom - top, right - left)),
        rotation_mode="anchor",
        color=tone,
        fontsize=10.5,
        fontweight="bold",
        ha="center",
        va="bottom",
    )


def _draw_mark(axes: Any, theme: Theme, curve: Curve) -> None:  # noqa: ANN401 - matplotlib has no types
    if curve.mark is None:
        return
    tone = theme.tones[curve.tone]
    chance = curve.chance(curve.mark).value
    axes.vlines(curve.mark, LEAST, 1, color=tone, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.plot(
        [curve.mark],
        [chance],
        marker="o",
        markersize=7,
        markerfacecolor=tone,
        markeredgecolor=theme.ground,
        clip_on=False,
    )
    axes.annotate(
        f"{curve.mark}\n{curve.mark_name}",
        (curve.mark, 1),
        xytext=(0, 5),
        textcoords="offset points",
        color=tone,
        fontsize=10,
        ha="center",
        va="bottom",
        linespacing=1.25,
    )


def _dress(axes: Any, theme: Theme) -> None:  # noqa: ANN401 - matplotlib has no types
    axes.set_yscale("log")
    axes.set_ylim(LEAST, 1)
    axes.set_xlim(SLOTS[0], SLOTS[-1])
    axes.set_xlabel(
        "MAX_CONN: slots of each of 64 workers; 4,096 connections, 260,000 reconnects/s",
        color=theme.ink,
        fontsize=10,
    )
    axes.set_ylabel("chance that some worker runs out", color=theme.ink, fontsize=10)
    axes.set_yticks([10.0**power for power in range(-10, 1, 2)])
    axes.set_xticks(range(90, 151, 10))
    axes.minorticks_off()
    axes.tick_params(colors=theme.faint, labelsize=9)
    axes.grid(visible=True, color=theme.faint, alpha=0.18, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.faint)


def main() -> None:
    """Draw the picture in each theme."""
    # The same picture gives the same file, and its letters are shapes, whatever fonts there are.
    mpl.rcParams.update({"svg.hashsalt": "memplan", "svg.fonttype": "path"})
    answers = {curve.name: [curve.chance(slots) for slots in SLOTS] for curve in CURVES}
    chances = json.dumps(marked_chances())
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, theme in THEMES.items():
        path = FOLDER / f"overflow-{name}.svg"
        draw(theme, answers).savefig(
            path, transparent=True, metadata={"Date": None, "Description": chances}
        )
        print(f"{path.relative_to(FOLDER.parents[1])}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
