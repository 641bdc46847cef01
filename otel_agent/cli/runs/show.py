"""`otel-agent runs show` and `tree`: one run, its numbers or all that happened in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from otel_agent.cli.runs.options import as_json_option, complain, found_run, history_option, moment_text, opened, place
from otel_agent.cli.runs.rows import cost_of, document, ended
from otel_agent.stores.past_spans import events_of, is_run
from otel_agent.stores.run_history import RunHistory, UnreadableHistory
from otel_agent.usage import PastRun
from otel_agent.views.drawing import render_tree
from otel_agent.views.past import trees_of
from otel_agent.views.screen import colored, columns, encodable
from otel_agent.views.text import clean, count_text, glyphs_for, money_text, seconds_text
from otel_agent.views.tree import CallNode, RunNode

__all__ = ["complete_id", "show", "tree"]


def complete_id(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the id of a run; a history that cannot be read has none."""
    try:
        with RunHistory.read(place(ctx.params.get("history"))) as history:
            found = history.find(incomplete, most=20)
    except (UnreadableHistory, OSError, click.UsageError):
        return []
    return [CompletionItem(run.run_id, help=f"{run.agent}, {ended(run)}") for run in found]


_ID = click.argument("run_id", required=False, metavar="[ID]", shell_complete=complete_id)


@click.command(short_help="Show the numbers of one run.")
@_ID
@history_option
@as_json_option
def show(run_id: str | None, history: Path | None, as_json: bool) -> None:
    """Show one run: ID is the beginning of a run id or trace id; without it, the latest."""
    with opened(history) as source:
        run = found_run(source, run_id)
        spans = source.spans(run.run_id)
    counts = {"spans": len(spans), "runs_under": sum(map(is_run, spans)) - 1 if spans else None}
    if as_json:
        click.echo(json.dumps({**document(run), **counts}, indent=2))
        return
    lines = [*_lines(run), ("spans", count_text(len(spans)) if spans else "none are kept")]
    for name, text in lines:
        click.echo(encodable(f"{name:<14}{text}", sys.stdout.encoding))


def _lines(run: PastRun) -> list[tuple[str, str]]:
    about = "about " if run.estimated else ""
    found = [
        ("run", run.run_id),
        ("trace", run.trace_id),
        ("parent run", run.parent_id),
        ("task", run.task),
        ("agent", run.agent),
        ("prompt", run.prompt_id),
        ("variant", run.variant),
        ("mode", run.mode),
        ("ended", f"{moment_text(run.ended_ns)} UTC, after {seconds_text(run.seconds)}"),
        ("stop reason", ended(run)),
        ("error", run.error_type),
        ("steps", count_text(run.steps)),
        ("tool calls", count_text(run.tool_calls)),
        ("tokens", f"{about}{count_text(run.input_tokens)} in, {count_text(run.output_tokens)} out"),
        ("cost", about + money_text(cost_of(run))),
    ]
    return [(name, clean(text)) for name, text in found if text is not None]


@click.command(short_help="Draw all that happened in one run.")
@_ID
@click.option("--lines", type=click.IntRange(8), default=200, show_default=True, help="Cut the middle of longer trees.")
@history_option
@as_json_option
def tree(run_id: str | None, lines: int, history: Path | None, as_json: bool) -> None:
    """Draw one run and the runs under it: ID begins its run id or trace id; without it, the latest."""
    with opened(history) as source:
        run = found_run(source, run_id)
        spans = source.spans(run.run_id)
    roots = trees_of(events_of(spans), lines=lines)
    if not roots:
        complain(f"of run {run.run_id} no spans can be read: it was not sampled, or they were pruned or are damaged")
        raise click.exceptions.Exit(1)
    if as_json:
        click.echo(json.dumps([_node(root) for root in roots], indent=2))
        return
    glyphs, color = glyphs_for(sys.stdout.encoding), colored(sys.stdout)
    for root in roots:
        for line in render_tree(root, width=columns(sys.stdout), color=color, glyphs=glyphs):
            click.echo(encodable(line, sys.stdout.encoding))


def _node(node: RunNode) -> dict[str, Any]:
    """Gives a run of a tree as JSON has it, its calls and runs in order."""
    record = node.record
    found: dict[str, Any] = {
        "kind": "run",
        "name": node.started.agent,
        "run_id": node.started.run_id,
        "prompt_id": node.started.prompt_id,
        "seconds": node.seconds if record is None else record.usage.seconds,
        "stop_reason": None if record is None else str(record.stop_reason),
        "hidden_calls": node.hidden.calls,
    }
    return {**found, "items": [_node(item) if isinstance(item, RunNode) else _call(item) for item in node.items]}


def _call(call: CallNode) -> dict[str, Any]:
    return {
        "kind": call.kind,
        "name": call.name,
        "seconds": call.seconds,
        "verdict": call.verdict,
        "why": call.why or None,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost_usd": None if call.cost_usd is None else f"{call.cost_usd:f}",
    }
