"""Which model server is used, and what is said of one that fails: one line, and never a key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from otel_agent.demo.backend import Backend, BackendFailed, model_server
from otel_agent.demo.knowledge import KnowledgeBase
from otel_agent.demo.play import Player
from otel_agent.demo.report import Report
from otel_agent.demo.scenarios import SCENARIOS
from otel_agent.demo.script import scripted_model
from otel_agent.demo.show import Show
from otel_agent.testing import Reply, ScriptedModelServer, capture

KEY = "a-very-secret-word"
ANSWER, STREAM = (next(each for each in SCENARIOS if each.name == name) for name in ("answer", "stream"))
both_ways = pytest.mark.parametrize("scenario", [ANSWER, STREAM], ids=lambda scenario: scenario.name)


@contextmanager
def raw_server(status: int, kind: str, body: str, *, missing: int = 0) -> Iterator[str]:
    """A server that answers everything with the same bytes, or promises more of them than it sends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body) + missing))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plays one scenario against an address."""

    def play(url: str, scenario: Any = ANSWER) -> Report:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        with capture(), KnowledgeBase() as knowledge:
            return Player(knowledge, Show(quiet=True)).play([scenario])

    return play


class TestChoice:
    def test_is_a_scripted_server_by_default(self) -> None:
        with model_server({}) as backend:
            assert backend.scripted is not None
            assert backend.base_url == backend.scripted.base_url
            assert backend.address == backend.base_url.removeprefix("http://").removesuffix("/v1")

    def test_a_key_alone_sends_nothing_anywhere(self) -> None:
        with model_server({"OPENAI_API_KEY": KEY}) as backend:
            assert backend.scripted is not None
            assert backend.api_key != KEY

    def test_a_base_url_is_the_users_server(self) -> None:
        with model_server({"OPENAI_BASE_URL": "https://models.example/v1", "OPENAI_API_KEY": KEY}) as backend:
            assert (backend.scripted, backend.api_key, backend.address) == (None, KEY, "models.example")
            assert KEY not in repr(backend)

    def test_a_local_server_may_need_no_key(self) -> None:
        with model_server({"OPENAI_BASE_URL": "http://localhost:11434/v1"}) as backend:
            assert backend.api_key
            assert backend.address == "localhost:11434"

    @pytest.mark.parametrize(
        ("url", "address"),
        [("http://[::1]:8000/v1", "[::1]:8000"), ("https://user:word@host:1/v1?key=a", "host:1")],
    )
    def test_the_address_holds_nothing_secret(self, url: str, address: str) -> None:
        with model_server({"OPENAI_BASE_URL": url}) as backend:
            assert backend.address == address
            assert "word" not in repr(backend)

    @pytest.mark.parametrize("url", ["models.example/v1", "ftp://host", "http://", "http://host:0", "http://host:x"])
    def test_a_wrong_address_is_refused(self, url: str) -> None:
        with pytest.raises(BackendFailed, match="OPENAI_BASE_URL must be"), model_server({"OPENAI_BASE_URL": url}):
            pass

    @pytest.mark.parametrize("key", ["schlüssel", "two\nlines"])
    def test_a_key_that_no_header_takes_is_refused_unseen(self, key: str) -> None:
        environ = {"OPENAI_BASE_URL": "http://host", "OPENAI_API_KEY": key}
        with pytest.raises(BackendFailed, match="OPENAI_API_KEY has") as caught, model_server(environ):
            pass
        assert key not in str(caught.value)

    @pytest.mark.parametrize(
        ("url", "local"),
        [
            ("http://127.0.0.1:1", True),
            ("http://127.8.0.1", True),
            ("http://localhost", True),
            ("http://[::1]:2", True),
            ("https://api.openai.com/v1", False),
            ("https://localhost.example", False),
        ],
    )
    def test_proxies_are_asked_for_others_only(self, url: str, local: bool) -> None:
        with model_server({"OPENAI_BASE_URL": url}) as backend:
            assert backend.local is local


def test_another_server_is_really_used(played: Any) -> None:
    with ScriptedModelServer(scripted_model) as server:
        report = played(server.base_url)
        assert server.ledger.answered == report.totals.steps == 7
    assert (report.ledger, report.complaints) == (None, [])


def test_a_model_of_the_users_may_simply_finish(played: Any) -> None:
    thorough = next(each for each in SCENARIOS if each.name == "thorough")
    with ScriptedModelServer(lambda _: Reply(text="I know that already.")) as server:
        report = played(server.base_url, thorough)
    assert report.complaints == []
    assert [str(each.result.stop_reason) for each in report.outcomes] == ["finish"]


REFUSALS = [
    (401, json.dumps({"error": {"message": f"Incorrect API key: {KEY}"}}), "refused the key (401): is OPENAI_API_KEY"),
    (403, "{}", "refused the key (403)"),
    (400, json.dumps({"error": {"message": f"bad {KEY}\nmore"}}), "answered 400: bad ***"),
    (404, json.dumps({"error": {"message": "no model; Bearer abc, sk-other"}}), "answered 404: no model; ***, ***"),
    (500, "[]", "answered 500: "),
]


@both_ways
@pytest.mark.parametrize(("status", "body", "says"), REFUSALS, ids=lambda value: str(value)[:3])
def test_a_refusal_is_one_line_without_the_key(played: Any, scenario: Any, status: int, body: str, says: str) -> None:
    with raw_server(status, "application/json", body) as url:
        (line,) = played(url, scenario).complaints
    assert says in line
    assert KEY not in line
    assert "\n" not in line


NONSENSE = {
    "html": ("text/html", "<html>hello</html>"),
    "half a document": ("application/json", '{"choices": ['),
    "another document": ("application/json", '{"choices": [{"message": null}]}'),
    "a list": ("application/json", "[1]"),
}


@both_ways
@pytest.mark.parametrize("answer", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_is_one_line(played: Any, scenario: Any, answer: tuple[str, str]) -> None:
    with raw_server(200, *answer) as url:
        (line,) = played(url, scenario).complaints
    assert line.endswith("does not answer as OpenAI's chat completions do")


def test_a_server_that_is_not_there_is_one_line(played: Any) -> None:
    (line,) = played("http://127.0.0.1:9/v1").complaints
    assert line.startswith("the model server at 127.0.0.1:9 cannot be reached (")


@both_ways
def test_an_answer_that_breaks_off_is_one_line(played: Any, scenario: Any) -> None:
    with ScriptedModelServer(lambda _: Reply(text="one two three four", drop="midway")) as server:
        (line,) = played(server.base_url, scenario).complaints
    assert line.startswith("the model server at 127.0.0.1:")
    assert "cannot be reached" in line or "broke off its answer" in line


class TestFailed:
    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        with model_server({"OPENAI_BASE_URL": "http://host/v1"}) as backend:
            yield backend

    def test_a_timeout_is_the_servers_doing(self, backend: Backend) -> None:
        error = openai.APITimeoutError(request=Any)  # type: ignore[arg-type]
        assert str(backend.failed(error)) == "the model server at host did not answer in time"

    def test_so_is_what_the_http_client_raises_itself(self, backend: Backend) -> None:
        kind = type("ReadError", (Exception,), {"__module__": "httpx"})
        assert str(backend.failed(kind())) == "the model server at host broke off its answer (ReadError)"

    def test_other_errors_are_not(self, backend: Backend) -> None:
        assert backend.failed(ValueError("ours")) is None
