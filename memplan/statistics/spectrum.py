"""Fourier transforms of laws on whole numbers, at the low frequencies of a fixed grid.

The sum of many independent loads has a transform that dies out fast, so that a few dozen of the
`length` frequencies 2 pi j / length hold all of it.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    ComplexArray = NDArray[np.complex128]

# Terms times frequencies that a matrix product does in the time of one step of an FFT's point.
_PRODUCTS_PER_FFT_STEP = 4.0
_TINY = 1e-300


def transform(values: "FloatArray", start: int, length: int, count: int) -> "ComplexArray":
    """Return the sums over k of values[k] exp(2 pi i j (start + k) / length), j = 0..count-1.

    Args:
        values: Terms, shape (n,).
        start: Number that the first term belongs to; may be negative.
        length: Points of the frequency grid.
        count: Frequencies wanted, from zero on; at most length//2 + 1.
    """
    if len(values) * count > _PRODUCTS_PER_FFT_STEP * length * math.log2(length + 1):
        return _by_fft(values, start, length, count)
    return _by_products(values, start, length, count)


def _by_fft(values: "FloatArray", start: int, length: int, count: int) -> "ComplexArray":
    places = (start + np.arange(len(values))) % length
    folded = np.bincount(places, weights=values, minlength=length)
    return np.conjugate(np.fft.rfft(folded)[:count])


def _by_products(values: "FloatArray", start: int, length: int, count: int) -> "ComplexArray":
    """Split k = block q + r, so that most of the work is one matrix product."""
    block = max(1, math.isqrt(len(values)))
    rows = -(-len(values) // block)
    padded = np.zeros(rows * block)
    padded[: len(values)] = values
    table = padded.reshape(rows, block)
    inner = _waves(np.arange(block), length, count)
    outer = _waves(start + block * np.arange(rows), length, count)
    # Two real products are twice as fast as a complex one with a real factor.
    sums = table @ inner.real + 1j * (table @ inner.imag)
    sums *= outer
    return np.asarray(sums.sum(axis=0), dtype=np.complex128)


def _waves(numbers: "NDArray[np.int64]", length: int, count: int) -> "ComplexArray":
    # Reduced while still whole, so that no angle is rounded before it is small.
    turns = np.outer(numbers, np.arange(count)) % length
    return np.asarray(np.exp((2j * np.pi / length) * turns))


def poisson_turn(length: int, count: int) -> "ComplexArray":
    """Return exp(iw) - 1 - iw at the frequencies w = 2 pi j / length, without cancellation.

    Times a mean it is the log of a Poisson law's transform, turned back by that mean.
    """
    w = (2 * math.pi / length) * np.arange(count)
    square = w * w
    series = np.ones_like(w)
    for divisor in (156.0, 110.0, 72.0, 42.0, 20.0):
        series = 1.0 - square / divisor * series
    out = np.empty(count, dtype=np.complex128)
    out.real = -2.0 * np.sin(w / 2) ** 2
    out.imag = np.where(w < 0.25, -w * square / 6.0 * series, np.sin(w) - w)
    return out


def frequencies_needed(
    length: int, log_envelope: "Callable[[FloatArray], FloatArray]", log_small: float
) -> int:
    """Return how many frequencies hold all but exp(log_small) of the mean over the grid."""
    most = length // 2 + 1
    steps = max(2, math.ceil(8 * math.log(most + 1.0)))
    tried = np.minimum(np.ceil(np.exp(np.linspace(0.0, math.log(most), steps))), most)
    enough = log_envelope(np.sin(math.pi / length * tried)) <= log_small
    return int(tried[int(np.argmax(enough))]) if enough.any() else most


def grid_sum(terms: "FloatArray") -> tuple[float, float]:
    """Return the sum over the whole grid, of odd length, and how much of it cancels."""
    total = 2.0 * float(terms.sum()) - float(terms[0])
    absolute = 2.0 * float(np.abs(terms).sum()) - abs(float(terms[0]))
    return total, absolute / abs(total)


def complex_log(z: "ComplexArray") -> "ComplexArray":
    """Return the complex logarithm; that of zero is finite, of a number next to zero."""
    out = np.empty_like(z)
    out.real = np.log(np.maximum(np.abs(z), _TINY))
    out.imag = np.angle(z)
    return out


def complex_log1p(z: "ComplexArray") -> "ComplexArray":
    """Return log(1 + z) for |z| <= 1/2; numpy's own loses the digits of a small z."""
    out = np.empty_like(z)
    out.real = 0.5 * np.log1p(z.real * (2.0 + z.real) + z.imag**2)
    out.imag = np.arctan2(z.imag, 1.0 + z.real)
    return out
