"""A number that may not be known exactly: one value, a range, or quantiles.

Connections, request sizes and pipeline depths are rarely one number. A `Quantity` says how much
is known, and every answer built on it can be asked at its low, its middle and its high end.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from memplan.errors import UsageError

_MEDIAN = 0.5


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number by its quantile function, linear between the points given.

    Attributes:
        levels: Increasing probabilities in [0, 1].
        values: The quantiles at these levels, not decreasing. One level means known exactly; the
            levels (0, 1) are a range with nothing known inside it, taken as uniform for a mean.
    """

    levels: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.values) or not self.levels:
            raise UsageError("a quantity needs one value for each of its levels")
        if any(not 0 <= level <= 1 for level in self.levels):
            raise UsageError("quantile levels are between p0 and p100")
        if any(b <= a for a, b in zip(self.levels, self.levels[1:], strict=False)):
            raise UsageError("quantile levels must increase, as in p50=200,p99=1400")
        if any(b < a for a, b in zip(self.values, self.values[1:], strict=False)):
            raise UsageError("a higher quantile cannot have a lower value")
        if any(not value >= 0 for value in self.values):
            raise UsageError("a quantity is a number of zero or more")

    @classmethod
    def exactly(cls, value: float) -> "Quantity":
        """Return a number that is known."""
        return cls((_MEDIAN,), (float(value),))

    @classmethod
    def between(cls, low: float, high: float) -> "Quantity":
        """Return a number known to lie between two others."""
        if high < low:
            raise UsageError(f"the range {low:g}..{high:g} ends below its start")
        return cls.exactly(low) if low == high else cls((0.0, 1.0), (float(low), float(high)))

    @classmethod
    def quantiles(cls, points: Mapping[float, float]) -> "Quantity":
        """Return a number known by quantiles, as `{0.5: 200, 0.99: 1400}`."""
        levels = sorted(points)
        return cls(tuple(levels), tuple(float(points[level]) for level in levels))

    @classmethod
    def of(
        cls, value: "float | tuple[float, float] | Mapping[float, float] | Quantity"
    ) -> "Quantity":
        """Return the quantity meant by a number, a (low, high) pair, or a mapping of quantiles."""
        if isinstance(value, Quantity):
            return value
        try:
            if isinstance(value, tuple):
                return cls.between(*value)
            if isinstance(value, Mapping):
                return cls.quantiles(value)
            return cls.exactly(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"{value!r} is no number, (low, high) pair or quantiles such as {{0.5: 200}}"
            ) from None

    @classmethod
    def parse(cls, text: str, number: Callable[[str], float]) -> "Quantity":
        """Return the quantity meant by `4096`, `3000..5000` or `p50=200,p99=1400`.

        Args:
            text: What was typed.
            number: Parses one number of it, such as `parse_bytes`.
        """
        if "=" in text:
            points: dict[float, float] = {}
            for part in text.split(","):
                name, equals, value = part.strip().partition("=")
                if not equals or not name.lower().startswith("p"):
                    raise UsageError(f"'{part}' is no quantile; write p50=200,p99=1400")
                try:
                    level = float(name[1:]) / 100
                except ValueError:
                    raise UsageError(f"'{name}' is no quantile; write p50, p99, p99.9") from None
                if level in points:
                    raise UsageError(f"{name} is given twice")
                points[level] = number(value)
            return cls.quantiles(points)
        low, dots, high = text.partition("..")
        return cls.between(number(low), number(high)) if dots else cls.exactly(number(text))

    @property
    def exact(self) -> bool:
        """Whether the number is known."""
        return self.low == self.high

    @property
    def low(self) -> float:
        """The lowest value given."""
        return self.values[0]

    @property
    def high(self) -> float:
        """The highest value given."""
        return self.values[-1]

    @property
    def median(self) -> float:
        """The value at one half."""
        return self.quantile(_MEDIAN)

    def quantile(self, level: float) -> float:
        """Return the value at a level; beyond the outermost levels their own values."""
        if level <= self.levels[0]:
            return self.values[0]
        for (la, va), (lb, vb) in zip(
            zip(self.levels, self.values, strict=True),
            zip(self.levels[1:], self.values[1:], strict=True),
            strict=False,
        ):
            if level <= lb:
                return va + (vb - va) * (level - la) / (lb - la)
        return self.values[-1]

    def mean(self) -> float:
        """Return the mean under linear quantiles, the outermost values carrying their tails."""
        total = self.levels[0] * self.values[0] + (1 - self.levels[-1]) * self.values[-1]
        for i in range(len(self.levels) - 1):
            width = self.levels[i + 1] - self.levels[i]
            total += width * (self.values[i] + self.values[i + 1]) / 2
        return total

    def to_dict(self) -> float | dict[str, float]:
        """Return the number itself where it is known, or its quantiles as `{"p50": 200.0}`."""
        if self.exact:
            return self.values[0]
        return {f"p{level * 100:g}": v for level, v in zip(self.levels, self.values, strict=True)}

    def describe(self, formatter: Callable[[float], str]) -> str:
        """Return the text of it: `4,096`, `3,000 to 5,000`, `p50 200, p99 1,400`."""
        if self.exact:
            return formatter(self.values[0])
        if self.levels == (0.0, 1.0):
            return f"{formatter(self.low)} to {formatter(self.high)}"
        pairs = zip(self.levels, self.values, strict=True)
        return ", ".join(f"p{level * 100:g} {formatter(value)}" for level, value in pairs)


QuantityLike = float | tuple[float, float] | Mapping[float, float] | Quantity
"""What a caller may write where a quantity is meant."""
