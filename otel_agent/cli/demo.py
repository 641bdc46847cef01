"""`otel-agent demo`: a support agent, run through every way that a run can end."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import click
from click.shell_completion import CompletionItem

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


@click.command(short_help="Watch a support agent, held to its limits.")
@click.option("--scenario", "scenarios", type=ScenarioName(), multiple=True, help="Play this one; may be repeated.")
@click.option("--list", "listing", is_flag=True, help="List the scenarios and play none.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; the trees stay on stderr.")
@click.option("--model", default="gpt-5-mini", show_default=True, metavar="MODEL", help="The model to ask for.")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the database, with its tickets, in this folder.",
)
@click.pass_context
def demo(
    context: click.Context, scenarios: Sequence[Scenario], listing: bool, as_json: bool, model: str, keep: Path | None
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
    context.exit(run_demo([BY_NAME[name] for name in chosen], model=model, keep=keep, as_json=as_json))
