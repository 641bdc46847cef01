"""The dashboards that ship are those that the script draws, and ask only for names of the vocabulary."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from otel_agent import semconv
from otel_agent.deploy import series
from otel_agent.deploy.dashboards import BOARDS
from otel_agent.deploy.dashboards.__main__ import FOLDER, drawn, main
from otel_agent.deploy.dashboards.panels import Board, Panel, Query
from otel_agent.semconv import Metric

boards = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
EVERY = [(board, panel, query) for board in BOARDS for panel in board.panels for query in panel.queries]
queries = pytest.mark.parametrize(
    ("board", "panel", "query"),
    EVERY,
    ids=lambda value: getattr(value, "uid", None) or getattr(value, "title", "query"),
)

LABELS_OF_OTHERS = {"le", "job", "instance", "transport", "exporter", "sampled"}
NEEDED = [
    *("runs", "active", "stop reasons by prompt", "tokens per run", "tokens per run ratio", "tool calls per run"),
    *("cost per run", "spend", "burn rate", "budget stops", "with traces", "model calls", "tool calls an hour"),
    *("kill switch", "refused", "queue"),
]


def concrete(expression: str, window: str = "5m") -> str:
    """Gives an expression as Grafana sends it, with everything chosen."""
    chosen = {"$window": window, "$agent": ".*", "$prompt": ".*", "$budget": "1000"}
    for variable, value in chosen.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


def metrics() -> list[Metric]:
    found = [value for value in vars(semconv).values() if isinstance(value, Metric)]
    return [*found, *semconv.USAGE_COUNTS.values()]


def known_series() -> set[str]:
    kinds = (series.counter, series.gauge, series.bucket, series.total, series.count)
    return {kind(metric) for metric in metrics() for kind in kinds} | series.COLLECTOR | {series.SPAN_SECONDS, "up"}


def known_labels() -> set[str]:
    names = {value for value in vars(semconv).values() if isinstance(value, str)}
    return {series.label(name) for name in names if "." in name} | LABELS_OF_OTHERS


def parts(node: Any) -> Iterator[Any]:
    """Every node of a parsed expression."""
    yield node
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        child = getattr(node, name, None)
        if child is not None and type(child).__module__.startswith("promql_parser"):
            yield from parts(child)
    for child in getattr(node, "args", None) or ():
        yield from parts(child)


def asked_for(expression: str) -> tuple[set[str], set[str]]:
    """The series and the labels that an expression names."""
    found: set[str] = set()
    labels: set[str] = set()
    for node in parts(promql_parser.parse(expression)):
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name)
            labels |= {matcher.name for matcher in node.matchers.matchers}
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier is not None:
            labels |= set(node.modifier.labels)
    labels |= {word for group in re.findall(r"(?:on|group_left) \(([^)]*)\)", expression) for word in group.split(", ")}
    return found, labels - {""}


@boards
def test_what_ships_is_what_the_script_draws(board: Board) -> None:
    assert (FOLDER / f"{board.uid}.json").read_text("utf-8") == drawn(board)


def test_nothing_else_ships(tmp_path: Path) -> None:
    main(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in FOLDER.iterdir())


@queries
def test_a_query_names_only_the_vocabulary(board: Board, panel: Panel, query: Query) -> None:
    found, labels = asked_for(concrete(query.expression))
    assert found
    assert found <= known_series()
    assert labels <= known_labels()
    assert set(re.findall(r"{{(\w+)}}", query.legend)) <= known_labels()
    assert "or vector(" not in query.expression


@queries
def test_a_query_has_its_own_legend_within_the_panel(board: Board, panel: Panel, query: Query) -> None:
    assert [each.legend for each in panel.queries].count(query.legend) == 1


def test_every_panel_says_what_it_is() -> None:
    for board in BOARDS:
        titles = [panel.title for panel in board.panels]
        assert len(set(titles)) == len(titles)
        assert all(panel.about.endswith(".") for panel in board.panels)


def test_what_an_operator_asks_for_is_there() -> None:
    titles = " | ".join(panel.title.lower().replace(",", "") for board in BOARDS for panel in board.panels)
    assert not [word for word in NEEDED if word not in titles]


@boards
def test_variables_are_declared(board: Board) -> None:
    made = json.loads(drawn(board))
    declared = {variable["name"] for variable in made["templating"]["list"]}
    asked = {
        word for panel in board.panels for query in panel.queries for word in re.findall(r"\$(\w+)", query.expression)
    }
    assert asked <= declared
    assert {"prometheus", "window"} <= declared


@boards
def test_panels_do_not_overlap(board: Board) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(drawn(board))["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
        assert place["x"] + place["w"] <= 24


def test_the_latency_asks_for_its_traces() -> None:
    targets = [t for panel in json.loads(drawn(BOARDS[0]))["panels"] for t in panel.get("targets", ())]
    assert [target["expr"].startswith("histogram_quantile") for target in targets if target["exemplar"]] == [True]
