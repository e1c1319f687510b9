"""What a model answers: a number with its bracket, its method and its error bound."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A number that says how it was found and how far it can be off.

    Two kinds of doubt are kept apart. The bracket `low <= value <= high` is what the mathematics
    leaves open; it is rigorous unless `method` says "approximation". `relative_error` is what
    rounding and truncation may have done to `value` on top of that.

    Attributes:
        value: The point, the best single number.
        low: Lower end of the bracket; equal to `value` where the method is exact.
        high: Upper end of the bracket; equal to `value` where the method is exact.
        method: Short standard name, such as `Levin exact` or `Bonferroni bound`.
        relative_error: Bound on the numerical relative error of `value`, given the method.
    """

    value: float
    low: float
    high: float
    method: str
    relative_error: float

    def __post_init__(self) -> None:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"no bracket: {self.low!r} <= {self.value!r} <= {self.high!r}")

    @classmethod
    def exactly(cls, value: float, method: str, relative_error: float = 0.0) -> "Answer":
        """Return an answer whose bracket is a single number."""
        return cls(value=value, low=value, high=value, method=method, relative_error=relative_error)

    @property
    def exact(self) -> bool:
        """Whether the bracket is a single number."""
        return self.low == self.high

    @property
    def width(self) -> float:
        """The bracket's width, in the unit of `value`."""
        return self.high - self.low

    def __float__(self) -> float:
        return self.value

    def to_dict(self) -> dict[str, float | str]:
        """Return the fields by name, as JSON takes them."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "method": self.method,
            "relative_error": self.relative_error,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsAnswer:
    """The smallest number of slots a worker that keeps overflow within a target.

    Attributes:
        slots: Smallest max_conn whose overflow, taken at its point, is within the target.
        low: Smallest max_conn whose overflow could be within it, by the bracket's lower end.
        high: Smallest max_conn whose overflow is within it even at the bracket's upper end.
        overflow: The overflow at `slots`.
        method: Short standard name of the method that decided.
    """

    slots: int
    low: int
    high: int
    overflow: Answer
    method: str

    def __post_init__(self) -> None:
        if not self.low <= self.slots <= self.high:
            raise ValueError(f"no bracket: {self.low} <= {self.slots} <= {self.high}")

    def __int__(self) -> int:
        return self.slots

    def to_dict(self) -> dict[str, int | str | dict[str, float | str]]:
        """Return the fields by name, as JSON takes them."""
        return {
            "slots": self.slots,
            "low": self.low,
            "high": self.high,
            "overflow": self.overflow.to_dict(),
            "method": self.method,
        }
