"""Writes the dashboards as Grafana's JSON: `python -m otel_agent.deploy.dashboards [FOLDER]`.

Needs grafana-foundation-sdk, of the extra `dev`; what ships is the JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, StackingMode, TooltipDisplayMode, VisibilityMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from otel_agent.deploy.dashboards import BOARDS
from otel_agent.deploy.dashboards.panels import Board, Panel, Query

__all__ = ["FOLDER", "drawn"]

FOLDER = Path(__file__).parents[1] / "files" / "grafana" / "dashboards"
TAG = "otel-agent"
SOURCE = DataSourceRef(type_val="prometheus", uid="${prometheus}")
WINDOWS = "5m,15m,1h,6h,1d,7d"


def drawn(board: Board) -> str:
    """Gives the JSON of a dashboard."""
    numbers = count(1)
    made = dashboard.Dashboard(board.title).uid(board.uid).description(board.about).tags([TAG]).readonly()
    made.time("now-6h", "now").refresh("1m").timezone("browser")
    made.link(dashboard.DashboardLink("Agents").type(DashboardLinkType.DASHBOARDS).tags([TAG]).keep_time(True))
    for variable in _variables(board):
        made.with_variable(variable)
    for row in board.rows:
        made.with_row(dashboard.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            made.with_panel(_panel(panel).id(next(numbers)))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variables(board: Board) -> list[Any]:
    source = dashboard.DatasourceVariable("prometheus").label("Prometheus").type("prometheus")
    window = dashboard.CustomVariable("window").label("Window").values(WINDOWS).current(_chosen("1h"))
    budget = dashboard.TextBoxVariable("budget").label("USD a month").default_value("1000")
    return [source, window, *_choices(board), *([budget] if _asks(board, "$budget") else [])]


def _choices(board: Board) -> Iterator[Any]:
    """Each narrows down the next."""
    chosen: list[str] = []
    for name, label in board.choices:
        asked = f"label_values({board.chosen_from}{{{', '.join(chosen)}}}, {label})"
        made = dashboard.QueryVariable(name).label(name).datasource(SOURCE).query(asked)
        made.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
        yield made.multi(True).include_all(True).all_value(".*").current(_chosen("$__all"))
        chosen.append(f'{label}=~"${name}"')


def _chosen(value: str) -> Any:
    text = "All" if value == "$__all" else value
    return VariableOption(selected=True, text=text, value=value)


def _asks(board: Board, variable: str) -> bool:
    return any(variable in query.expression for panel in board.panels for query in panel.queries)


def _panel(panel: Panel) -> Any:
    made: Any = stat.Panel() if panel.kind == "number" else _lines(panel.kind == "stack")
    made.title(panel.title).description(panel.about).unit(panel.unit).datasource(SOURCE).height(8).span(8)
    for letter, query in zip("ABCDEFGH", panel.queries, strict=False):
        made.with_target(_target(query, letter))
    return made


def _lines(stacked: bool) -> Any:
    made = timeseries.Panel().min(0).show_points(VisibilityMode.AUTO).span_nulls(True)
    made.legend(common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).show_legend(True))
    made.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    if stacked:
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL)).fill_opacity(60)
    return made


def _target(query: Query, letter: str) -> Any:
    made = prometheus.Dataquery().ref_id(letter).expr(query.expression).legend_format(query.legend).range()
    return made.exemplar(query.exemplar)


def main(folder: Path = FOLDER) -> None:
    """Writes every dashboard into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (folder / f"{board.uid}.json").write_text(drawn(board), "utf-8")


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:2]))
