"""A model server that follows a script: the other end of the wire for tests, demos and examples.

Needs nothing but the standard library.

    scripted    the server as a user holds it
    listener    the socket and its threads
    handler     one HTTP request
    script      what is asked, what is said        answer   counted and cut to the limit
    ledger      what was really served
    dialect     what a wire format has to give:  chat, responses (OpenAI), messages (Anthropic)
"""

from __future__ import annotations

from otel_agent.testing.server.answer import count_tokens
from otel_agent.testing.server.ledger import Ledger, Served
from otel_agent.testing.server.script import Reply, Request, Script
from otel_agent.testing.server.scripted import ScriptedModelServer

__all__ = ["Ledger", "Reply", "Request", "Script", "ScriptedModelServer", "Served", "count_tokens"]
