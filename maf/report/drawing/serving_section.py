"""How to use the model from here: commands to copy."""

from __future__ import annotations

import json
import shlex
from typing import Any

from maf.report.drawing.markup import Element, element
from maf.report.report import Report
from maf_serving.columns import OTHER
from maf_serving.flags import format_names

REST_PORT = 8501


def serving_section(report: Report) -> Element:
    """Export, serve, ask, score."""
    steps = [
        element("li", element("h3", title), element("pre", element("code", command)), class_="card")
        for title, command in commands(report).items()
    ]
    return element(
        "section",
        element("h2", "How to serve it"),
        element("p", "A click selects a whole command.", class_="soft"),
        element("ol", *steps, class_="steps"),
    )


def commands(report: Report) -> dict[str, str]:
    """What each command does, and the command."""
    run = report.options.run
    name = run.resolve().name
    base = shlex.quote(f"models/{name}")
    tables = shlex.quote(format_names(report.options.test or report.config.data.data))
    body = json.dumps({"instances": [_instance(report)]})
    return {
        "Export the next version, checked against the model": f"maf-serving export --run {shlex.quote(str(run))} "
        f"--model {base}",
        "Serve it over gRPC and REST": f"maf-serving serve --model {base} --model_name {shlex.quote(name)}",
        "Ask for the log-density of a row": f"curl http://localhost:{REST_PORT}/v1/models/{name}:predict "
        f"-d {shlex.quote(body)}",
        **_encoding(report, name),
        "Score a table of any size": f"maf-serving score --model {base} --input {tables} --output out/scores",
    }


def _instance(report: Report) -> dict[str, list[float]]:
    instance = {"x": _rounded(report.rows.x[0].tolist())}
    if report.rows.c.shape[1]:
        instance["conditional_input"] = _rounded(report.rows.encoded(report.rows.c[:1])[0].tolist())
    return instance


def _encoding(report: Report, name: str) -> dict[str, str]:
    """How to ask for the `conditional_input` of raw columns, if they are more than plain numbers."""
    if report.rows.condition is None:
        return {}
    columns, values = report.rows.condition.columns, report.rows.c[0].tolist()
    numbers = [value for column, value in zip(columns, values, strict=True) if not column.is_category]
    categories = [(column, int(value)) for column, value in zip(columns, values, strict=True) if column.is_category]
    instance: dict[str, list[Any]] = {"numbers": _rounded(numbers)} if numbers else {}
    if categories:
        instance["categories"] = [str((*column.vocabulary, OTHER)[place]) for column, place in categories]
    if any(column.nullable for column, _ in categories):
        instance["null_categories"] = [place < 0 for _, place in categories]
    body = json.dumps({"signature_name": "encode_condition", "instances": [instance]}, ensure_ascii=False)
    return {
        "Ask for the conditional_input of raw columns": f"curl http://localhost:{REST_PORT}/v1/models/{name}:predict "
        f"-d {shlex.quote(body)}"
    }


def _rounded(values: list[float]) -> list[float]:
    return [float(f"{value:.4g}") for value in values]
