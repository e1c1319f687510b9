"""memplan: what memory a many-connection server will take, before it runs.

    import memplan as mp

    plan = mp.recommend(workers=64, conns=4096)
    print(plan.summary())

Names are imported when they are used, so that `import memplan` itself costs nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memplan.answer import Answer, SlotsAnswer
    from memplan.errors import MeasureError, MemplanError, PlanError, UsageError
    from memplan.memory.calibration import Calibration, Point
    from memplan.memory_model import Prediction
    from memplan.plan import Plan
    from memplan.planner import recommend
    from memplan.planning.configuration import Configuration
    from memplan.planning.goals import Evidence, Goals
    from memplan.quantity import Quantity
    from memplan.reuseport_model import ReuseportModel
    from memplan.slots import SlotLayout, SlotStrategy, find_strategy
    from memplan.statistics.churn_simulator import simulate_churn
    from memplan.whatif import what_if
    from memplan.workload import Traffic, Workload

_HOMES = {
    "Answer": "answer",
    "Calibration": "memory.calibration",
    "Configuration": "planning.configuration",
    "Evidence": "planning.goals",
    "Goals": "planning.goals",
    "MeasureError": "errors",
    "MemplanError": "errors",
    "Plan": "plan",
    "PlanError": "errors",
    "Point": "memory.calibration",
    "Prediction": "memory_model",
    "Quantity": "quantity",
    "ReuseportModel": "reuseport_model",
    "SlotLayout": "slots",
    "SlotStrategy": "slots",
    "SlotsAnswer": "answer",
    "Traffic": "workload",
    "UsageError": "errors",
    "Workload": "workload",
    "find_strategy": "slots",
    "recommend": "planner",
    "simulate_churn": "statistics.churn_simulator",
    "what_if": "whatif",
}

__all__ = [
    "Answer",
    "Calibration",
    "Configuration",
    "Evidence",
    "Goals",
    "MeasureError",
    "MemplanError",
    "Plan",
    "PlanError",
    "Point",
    "Prediction",
    "Quantity",
    "ReuseportModel",
    "SlotLayout",
    "SlotStrategy",
    "SlotsAnswer",
    "Traffic",
    "UsageError",
    "Workload",
    "find_strategy",
    "recommend",
    "simulate_churn",
    "what_if",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'memplan' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(f"memplan.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
