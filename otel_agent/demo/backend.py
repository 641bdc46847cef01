"""Which model server the demo talks to: the user's, where OPENAI_BASE_URL names one, else a scripted one on loopback.

Decides that, how the client is built, and what is said when the server fails: one line, never a key. A key alone
chooses nothing: nobody shall pay for a demo who did not ask for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import openai

from otel_agent.demo.script import scripted_model
from otel_agent.testing import ScriptedModelServer
from otel_agent.views.text import clean

__all__ = ["Backend", "BackendFailed", "model_server"]

URL = "OPENAI_BASE_URL"
KEY = "OPENAI_API_KEY"
NO_KEY = "none-needed"
LONGEST_MESSAGE = 200

_LOOKS_SECRET = re.compile(r"\b(sk|key|Bearer)[-_ ][^\s,;:]+")


class BackendFailed(Exception):
    """The model server cannot be used; its text is one line to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A model server and how to talk to it.

    Attributes:
        base_url: the address for the client.
        api_key: the key for the client.
        scripted: the server when it is ours, else None.
    """

    base_url: str = field(repr=False)
    api_key: str = field(repr=False)
    scripted: ScriptedModelServer | None = None

    @property
    def address(self) -> str:
        """`host` or `host:port`, without anything that may be secret."""
        url = urlsplit(self.base_url)
        host = url.hostname or ""
        host = f"[{host}]" if ":" in host else host
        return host if url.port is None else f"{host}:{url.port}"

    @property
    def local(self) -> bool:
        """Whether the server is on this machine, where no proxy must come between."""
        host = urlsplit(self.base_url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def client(self) -> openai.AsyncOpenAI:
        """Builds the client: without hidden retries, since each attempt is a step of the run."""
        http_client = openai.DefaultAsyncHttpxClient(trust_env=not self.local)
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=0, http_client=http_client)

    def failed(self, error: Exception) -> BackendFailed | None:
        """Says in one line, without any key, what is wrong with the server; None when the error is not its doing."""
        why = self._why(error)
        return None if why is None else BackendFailed(f"the model server at {self.address} {why}")

    def _why(self, error: Exception) -> str | None:
        match error:
            case openai.APITimeoutError():
                return "did not answer in time"
            case openai.APIConnectionError():
                return f"cannot be reached ({type(error.__cause__ or error).__name__})"
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return f"refused the key ({error.status_code}): is {KEY} right?"
            case openai.APIStatusError():
                return f"answered {error.status_code}: {self._harmless(_said(error))}"
            case openai.OpenAIError() | json.JSONDecodeError():
                return "does not answer as OpenAI's chat completions do"
            case _ if type(error).__module__.startswith("httpx"):
                return f"broke off its answer ({type(error).__name__})"
            case _:
                return None

    def _harmless(self, message: str) -> str:
        line = message.replace(self.api_key, "***").strip().partition("\n")[0]
        return clean(_LOOKS_SECRET.sub("***", line)[:LONGEST_MESSAGE])


def _said(error: openai.APIStatusError) -> str:
    body: object = error.body
    said = cast(dict[str, Any], body).get("message") if isinstance(body, dict) else None
    return said if isinstance(said, str) else error.message


@contextmanager
def model_server(environ: Mapping[str, str]) -> Generator[Backend]:
    """Gives the model server to talk to, started if it is ours.

    Args:
        environ: the environment, such as `os.environ`.

    Raises:
        BackendFailed: what the environment says can never work.
    """
    url, key = environ.get(URL, "").strip(), environ.get(KEY, "").strip()
    if url:
        yield _users(url, key or NO_KEY)
        return
    with ScriptedModelServer(scripted_model) as server:
        yield Backend(base_url=server.base_url, api_key=NO_KEY, scripted=server)


def _users(url: str, key: str) -> Backend:
    if not _is_address(url):
        raise BackendFailed(f"{URL} must be an http or https URL, such as https://api.openai.com/v1")
    if not (key.isascii() and key.isprintable()):
        raise BackendFailed(f"{KEY} has characters that no HTTP header takes")
    return Backend(base_url=url, api_key=key)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
