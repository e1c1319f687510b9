"""`NAME=value` lines that bash, systemd's EnvironmentFile= and docker's --env-file read alike."""

from typing import TYPE_CHECKING

from memplan.reports import exports as out

if TYPE_CHECKING:
    from memplan.plan import Plan


def render(plan: "Plan") -> str:
    """Return the settings and the load as an environment file, each with its reason as a comment.

    `memplan explain --from FILE` reads it back.
    """
    lines = [f"# {line}" for line in out.heading(plan)]
    for one in (*out.assignments(plan), *out.load_assignments(plan)):
        lines += ["", *(f"# {line}" for line in out.comment(one.why))]
        if one.value is not None:
            lines.append(f"{one.name}={one.value}")
    return "\n".join(lines) + "\n"
