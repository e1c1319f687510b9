"""Fourier transforms of laws on whole numbers, at the low frequencies of a fixed grid.

The sum of many independent loads has a transform that dies out fast, so that a few dozen of the
`length` frequencies 2 pi j / length hold all of it.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    ComplexArray = NDArray[np.complex128]

# Terms times frequencies that a matrix product does in the time of one step of an FFT's point.
_PRODUCTS_PER_FFT_STEP = 4.0


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
