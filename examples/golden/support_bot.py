"""The agent that the golden tasks ask: the support agent of the demo, with the prompt that is released or under test.

Its model is scripted and on loopback, so that nothing is paid for; with OPENAI_BASE_URL and OPENAI_API_KEY it is a real
one. `otel-agent golden run` in this folder finds it as `support_bot:answer`.
"""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack
from pathlib import Path

from otel_agent import RunResult, configure
from otel_agent.demo.agent import SupportAgent
from otel_agent.demo.backend import model_server
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.tools import Toolbox

MODEL = "gpt-5-mini"
TOOLS = ("kb.search", "ticket.create")

opened = ExitStack()
atexit.register(opened.close)
backend = opened.enter_context(model_server(os.environ))
client = backend.client()
knowledge = opened.enter_context(KnowledgeBase())

configure("support", config=Path(__file__).parent / "otel-agent.yaml", console=False)


async def answer(question: str, conversation: str | None = None) -> RunResult[str]:
    """Answers one question, under the limits of otel-agent.yaml.

    Args:
        question: the customer's question.
        conversation: the conversation that it belongs to, which decides whether a canary is tried on it.
    """
    bot = SupportAgent(client, Toolbox(knowledge, TOOLS), model=MODEL, server_address=backend.address)
    result: RunResult[str] = await bot.answer.using(prompt="support", conversation_id=conversation).run(question)
    return result
