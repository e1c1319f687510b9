"""Render docs/json.md from the schema: `python tools/render_json_docs.py > docs/json.md`.

A test keeps the page in step, so a field cannot be added without its description and its unit.
"""

from collections.abc import Iterator
from typing import Any

from memplan.reports.json import schema

HEAD = """\
# A plan as JSON

`memplan recommend --format json` writes everything that the table shows, and what it rounds, as one
object. `Plan.to_dict()` returns the same. Names end in their unit: `_bytes`, `_s` (seconds),
`_per_s` (a second); shares and probabilities are fractions of 1. What is not known is `null`.

```console
$ memplan recommend --workers 64 --conns 4096 --format json -o plan.json
$ memplan recommend --workers 64 --conns 4096 --format json | python -c \\
    "import json, sys; print(json.load(sys.stdin)['prediction']['charge'])"
```

The field `schema` names the format and its version, `memplan.plan/1`. The number grows when a field
changes its meaning or goes away; a new field alone does not raise it, so a reader should pass over
fields that it does not know. The JSON schema (draft 2020-12) is installed with the package, as
`memplan/reports/plan.schema.json`. It is strict: it knows every field of its own release.

```python
from memplan.reports.json import schema

assert schema()["title"] == "memplan.plan/1"
```

`memplan explain --from FILE` reads a plan back as a configuration.

`memplan explain --format json` writes another, smaller object, `memplan.whatif/1`: both
configurations as they were completed (`before`, `after`), the sums `virtual_bytes`,
`resident_bytes` and `charge_bytes`, what each takes in all (`before_prediction` and
`after_prediction`, like `prediction` below), a list `changes` of objects like `change` below, and
`cautions` like `caution` below.

This page is rendered from the schema.
"""


def main() -> None:
    """Print the page."""
    document = schema()
    print(HEAD)
    print("\n".join(_object("The plan", document)))
    for name, definition in sorted(document["$defs"].items()):
        print("\n".join(_object(f"`{name}`", definition)))


def _object(title: str, definition: dict[str, Any]) -> Iterator[str]:
    """Yield a heading, what it is, and a row for each of its fields, inner ones included."""
    yield f"## {title}\n"
    if title != "The plan":
        yield f"{definition['description']}\n"
    if "properties" not in definition:
        for choice in definition["anyOf"]:
            yield f"- {_type(choice)}: {choice['description']}"
        yield ""
        return
    yield "| field | type | meaning |"
    yield "| --- | --- | --- |"
    for path, field in _fields(definition, ""):
        yield f"| `{path}` | {_type(field)} | {field['description']} |"
    yield ""


def _fields(definition: dict[str, Any], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in definition["properties"].items():
        yield f"{prefix}{name}", field
        if "properties" in field:
            yield from _fields(field, f"{prefix}{name}.")


def _type(field: dict[str, Any]) -> str:
    """Return a field's type in a few words, references by their name."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name})"
    if "anyOf" in field:
        return " or ".join(_type(choice) for choice in field["anyOf"])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" if value else "empty" for value in field["enum"])
    if field["type"] == "array":
        return f"list of {_type(field['items'])}"
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(kinds)


if __name__ == "__main__":
    main()
