"""Everything that a plan says, as JSON; `plan.schema.json` beside this file describes it."""

import json
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memplan.plan import Plan


def render(plan: "Plan") -> str:
    """Return the plan as JSON, every field as `Plan.to_dict()` has it."""
    return dump(plan.to_dict())


def dump(data: Any) -> str:  # noqa: ANN401 - any plain data
    """Return plain data as indented JSON; what is not finite becomes null, as JSON has no word."""
    text = json.dumps(_finite(data), indent=2, ensure_ascii=False, allow_nan=False, default=_number)
    return text + "\n"


def schema() -> dict[str, Any]:
    """Return the JSON schema of a plan."""
    from importlib.resources import files

    text = files("memplan.reports").joinpath("plan.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _finite(data: Any) -> Any:  # noqa: ANN401 - any plain data
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def _number(value: Any) -> Any:  # noqa: ANN401 - a scalar of numpy, from a user's own strategy
    return value.item()
