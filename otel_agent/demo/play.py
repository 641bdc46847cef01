"""Plays the demo: sets up telemetry, the database and the model server, runs the scenarios, and takes all of it down.

Decides the order of things and the exit code. A database is on disk only where the user named a folder, so that
whatever ends the process leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import openai

from otel_agent import InvalidSetting, configure, flush, shutdown
from otel_agent.config import MODE
from otel_agent.config.values import Config
from otel_agent.demo.actions import ActionsName
from otel_agent.demo.agent import SupportAgent
from otel_agent.demo.backend import KEY, URL, Backend, BackendFailed, model_server
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.report import Outcome, Report
from otel_agent.demo.scenarios import SCENARIOS, Scenario
from otel_agent.demo.show import Show, complain
from otel_agent.demo.tools import Toolbox
from otel_agent.run.choice import use_prompts
from otel_agent.stores.cache import cache_folder
from otel_agent.telemetry import providers
from otel_agent.telemetry.destinations import target_of
from otel_agent.telemetry.variables import SIGNALS
from otel_agent.testing.server import Ledger
from otel_agent.views.text import plural

__all__ = ["DATABASE", "MODEL", "Player", "run_demo"]

MODEL = "gpt-5-mini"
DATABASE = "support.db"
SERVICE = "otel-agent-demo"
FLUSH_SECONDS = 3.0

OK, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


def run_demo(
    scenarios: Sequence[Scenario] = SCENARIOS,
    *,
    model: str = MODEL,
    actions: ActionsName = "tools",
    keep: Path | None = None,
    as_json: bool = False,
) -> int:
    """Plays scenarios and prints what came of them.

    Args:
        scenarios: what to play, in this order.
        model: the model to ask for.
        actions: how the model says what it wants to do.
        keep: a folder to keep the database in; None keeps it in memory and leaves nothing behind.
        as_json: print one JSON document in place of text.

    Returns:
        The exit code: 0 when every run ended as it should, 1 when not, 2 when the set-up can never work, 130 when it
        was interrupted.
    """
    show = Show(quiet=as_json)
    try:
        return _run_demo(scenarios, model, actions, keep, show)
    except InvalidSetting as wrong:
        complain(str(wrong))
        return WRONG_USAGE
    except KeyboardInterrupt:
        complain("interrupted; nothing goes on, and nothing was left behind but what --keep asked for")
        return INTERRUPTED
    finally:
        shutdown()


def _run_demo(scenarios: Sequence[Scenario], model: str, actions: ActionsName, keep: Path | None, show: Show) -> int:
    history = _history()
    configure(
        None if os.environ.get("OTEL_SERVICE_NAME") else SERVICE,
        mode="enforce",
        config=Config(),
        history=False if history is None else history,
    )
    use_prompts(None)  # its prompts pin themselves, and what users require of theirs is not asked of them
    with _knowledge(keep) as knowledge:
        player = Player(knowledge, show, model=model, actions=actions, exports_to=_exports_to())
        report = player.play(scenarios)
        delivered = flush(FLUSH_SECONDS)
        show.report(report)
        show.say(_left_behind(knowledge, keep, history))
    if not delivered:
        complain(f"not everything was delivered to {report.exports_to}; the runs themselves do not mind")
    return FAILED if report.complaints else OK


class Player:
    """Plays scenarios on the model server that the environment names, or on the scripted one.

    Args:
        knowledge: the articles and tickets.
        show: is told what happens.
        model: the model to ask for.
        actions: how the model says what it wants to do.
        exports_to: where telemetry goes, or None.
    """

    def __init__(
        self,
        knowledge: KnowledgeBase,
        show: Show,
        *,
        model: str = MODEL,
        actions: ActionsName = "tools",
        exports_to: str | None = None,
    ) -> None:
        self._knowledge = knowledge
        self._show = show
        self._model = model
        self._actions: ActionsName = actions
        self._exports_to = exports_to
        self._outcomes: list[Outcome] = []

    def play(self, scenarios: Sequence[Scenario]) -> Report:
        """Plays them one after the other, and stops early where the model server fails."""
        ledger: Ledger | None = None
        problem: str | None = None
        try:
            with model_server(os.environ) as backend:
                ledger = None if backend.scripted is None else backend.scripted.ledger
                self._show.say(_about(self._model, backend, self._exports_to))
                asyncio.run(self._play(scenarios, backend))
        except BackendFailed as failed:
            problem = str(failed)
        return Report(
            model=self._model,
            outcomes=self._outcomes,
            ledger=ledger,
            actions=self._actions,
            exports_to=self._exports_to,
            problem=problem,
        )

    async def _play(self, scenarios: Sequence[Scenario], backend: Backend) -> None:
        async with backend.client() as client:
            for scenario in scenarios:
                self._show.scenario(scenario)
                for question in scenario.questions:
                    self._show.question(question)
                    outcome = await self._ask(scenario, question, backend, client)
                    self._outcomes.append(outcome)
                    self._show.outcome(outcome, traced=self._exports_to is not None)

    async def _ask(self, scenario: Scenario, question: str, backend: Backend, client: openai.AsyncOpenAI) -> Outcome:
        tools = Toolbox(self._knowledge, scenario.tools)
        agent = SupportAgent(client, tools, model=self._model, server_address=backend.address, actions=self._actions)
        support = agent.answer.using(prompt=scenario.prompt, budget=scenario.budget)
        try:
            result = await support.run(question, stream=scenario.stream)
        except Exception as error:
            failed = backend.failed(error)
            if failed is None:
                raise
            raise failed from error
        return Outcome(
            scenario=scenario,
            question=question,
            result=result,
            asked=agent.asked,
            used=tools.used,
            pieces=agent.pieces,
            scripted=backend.scripted is not None,
        )


def _knowledge(keep: Path | None) -> KnowledgeBase:
    """Opens the database in the user's folder, or in memory.

    Raises:
        InvalidSetting: that is no folder to write in, or what is there is no such database.
    """
    if keep is None:
        return KnowledgeBase()
    try:
        keep.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidSetting(field="keep", value=str(keep), allowed="a folder that can be written in") from error
    return KnowledgeBase(keep / DATABASE)


def _about(model: str, backend: Backend, exports_to: str | None) -> str:
    """Says who answers, and where telemetry goes."""
    lines = [f"Model: {model} at {backend.address}"]
    if backend.scripted is not None:
        lines[0] = f"Model: {model}, scripted, on loopback; {URL} names a real one"
        if os.environ.get(KEY):
            lines.append(f"{KEY} is set but not used: without {URL} nothing leaves this machine")
    if os.environ.get(MODE.variable, MODE.default) != MODE.default:
        lines.append(f"{MODE.variable} is left aside: the demo is about limits that hold")
    if exports_to is not None:
        lines.append(f"Telemetry: to {exports_to}")
    return "\n".join(lines)


def _exports_to() -> str | None:
    """Says where `configure()` sends telemetry, or None where nothing goes anywhere."""
    done = providers.install()
    if not done.backend:
        return None
    targets = [target_of(signal) for signal in SIGNALS if getattr(done, signal) == "exporting"]
    return ", ".join(dict.fromkeys(targets)) or "the OpenTelemetry providers that this process has already"


def _history() -> Path | None:
    """Gives the history of demos, apart from that of the user's own runs; None for a user without a home."""
    folder = cache_folder()
    return None if folder is None else folder / "demo"


def _left_behind(knowledge: KnowledgeBase, keep: Path | None, history: Path | None) -> str:
    tickets = plural(len(knowledge.tickets()), "ticket")
    runs = "nothing" if history is None else f"the runs (otel-agent runs list --history {history})"
    if keep is None:
        return f"Left behind: {runs}; the database, with {tickets}, was in memory (--keep DIR keeps it)"
    return f"Left behind: {keep / DATABASE}, with {tickets}" + (f", and {runs}" if history else "")
