"""`otel-agent demo`: a support agent, run through every way that a run can end."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from otel_agent import InvalidSetting
from otel_agent.demo.limits import limit, limited
from otel_agent.demo.scenarios import SCENARIOS, Scenario

__all__ = ["demo"]

HINT = "the demo needs its client: pip install 'otel-agent[demo]'"
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


class ScenarioName(click.ParamType[Scenario]):
    """The name of a scenario; a wrong one is answered with the nearest right one."""

    name = "name"

    def convert(self, value: Scenario | str, param: click.Parameter | None, ctx: click.Context | None) -> Scenario:
        """Gives the scenario of a name."""
        scenario = BY_NAME.get(value) if isinstance(value, str) else value
        if scenario is None:
            near = difflib.get_close_matches(str(value), BY_NAME, n=1, cutoff=0.0)[0]
            self.fail(f"there is no scenario {value!r}; did you mean {near!r}? --list shows all.", param, ctx)
        return scenario

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Gives the names that begin so."""
        found = [scenario for scenario in SCENARIOS if scenario.name.startswith(incomplete)]
        return [CompletionItem(scenario.name, help=scenario.about) for scenario in found]


class Limit(click.ParamType[tuple[str, Any]]):
    """A limit in place of the scenarios' own, such as `max_steps=3`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        """Gives name and value."""
        try:
            return limit(value)
        except InvalidSetting as wrong:
            self.fail(str(wrong), param, ctx)


@click.command(short_help="Watch a support agent, held to its limits.")
@click.option("--scenario", "scenarios", type=ScenarioName(), multiple=True, help="Play this one; may be repeated.")
@click.option("--list", "listing", is_flag=True, help="List the scenarios and play none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; the trees stay on stderr.")
@click.option("--model", default="gpt-5-mini", show_default=True, metavar="MODEL", help="The model to ask for.")
@click.option(
    "--actions",
    type=click.Choice(["tools", "json"]),
    default="tools",
    show_default=True,
    help="How the model says what to do: native tool calls, or JSON objects held to a schema.",
)
@click.option(
    "--limit",
    "limits",
    type=Limit(),
    multiple=True,
    metavar="NAME=VALUE",
    help="Put this limit in place of the scenarios' own: max_steps, max_tool_calls, max_seconds, max_tokens or "
    "max_usd; `none` lifts it. May be repeated.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the database, with its tickets, in this folder.",
)
@click.pass_context
def demo(
    context: click.Context,
    scenarios: Sequence[Scenario],
    listing: bool,
    as_json: bool,
    model: str,
    actions: Literal["tools", "json"],
    limits: Sequence[tuple[str, Any]],
    keep: Path | None,
) -> None:
    """Watch a support agent answer questions: traced, held to its limits, stopped with a reason.

    Without more it plays all scenarios against a scripted model on this machine. With OPENAI_BASE_URL (and
    OPENAI_API_KEY) it asks that server; with OTEL_EXPORTER_OTLP_ENDPOINT it exports there.
    """
    if listing:
        width = max(map(len, BY_NAME))
        for scenario in SCENARIOS:
            click.echo(f"{scenario.name:<{width}}  {scenario.about}")
        return
    try:
        from otel_agent.demo.play import run_demo
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] != "openai":
            raise
        click.echo(HINT, err=True)
        context.exit(2)
    chosen = list(dict.fromkeys(scenario.name for scenario in scenarios)) or list(BY_NAME)
    played = _limited([BY_NAME[name] for name in chosen], dict(limits))
    context.exit(run_demo(played, model=model, actions=actions, keep=keep, as_json=as_json))


def _limited(scenarios: Sequence[Scenario], limits: dict[str, Any]) -> Sequence[Scenario]:
    """Puts the user's limits over those of the scenarios, where there are any."""
    try:
        return [limited(each, limits) for each in scenarios] if limits else scenarios
    except InvalidSetting as wrong:
        raise click.BadParameter(str(wrong), param_hint="--limit") from wrong
