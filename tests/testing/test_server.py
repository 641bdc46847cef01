"""The scripted model server, held against the real SDKs, and against clients that behave badly."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import anthropic
import openai
import pytest

from otel_agent.stop import InvalidSetting
from otel_agent.testing.server import Reply, Request, ScriptedModelServer, Served, count_tokens

KEY = "sk-never-seen"
HELLO: Any = [{"role": "user", "content": "Where is my refund?"}]
HELLO_TOKENS = 5
PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages")
TWO_CALLS = (("kb.search", {"query": "refund policy", "top": 3}), ("ticket.create", {"title": "Where is my money?"}))


@contextmanager
def openai_client(server: ScriptedModelServer, **options: Any) -> Iterator[openai.OpenAI]:
    web = openai.DefaultHttpxClient(verify=False, trust_env=False)
    options = {"base_url": server.base_url, "max_retries": 0, "timeout": 5, "http_client": web, **options}
    with openai.OpenAI(api_key=KEY, **options) as client:
        yield client


@contextmanager
def anthropic_client(server: ScriptedModelServer, **options: Any) -> Iterator[anthropic.Anthropic]:
    web = anthropic.DefaultHttpxClient(verify=False, trust_env=False)
    options = {"base_url": server.anthropic_base_url, "max_retries": 0, "timeout": 5, "http_client": web, **options}
    with anthropic.Anthropic(api_key=KEY, **options) as client:
        yield client


def chat(server: ScriptedModelServer, **options: Any) -> Any:
    with openai_client(server) as client:
        answer = client.chat.completions.create(**{"model": "gpt-5-mini", "messages": HELLO, **options})
        return list(answer) if options.get("stream") else answer


def respond(server: ScriptedModelServer, **options: Any) -> Any:
    with openai_client(server) as client:
        answer = client.responses.create(**{"model": "gpt-5-mini", "input": HELLO, **options})
        return list(answer) if options.get("stream") else answer


def message(server: ScriptedModelServer, **options: Any) -> Any:
    with anthropic_client(server) as client:
        return client.messages.create(**{"model": "claude", "max_tokens": 1_000, "messages": HELLO, **options})


def body_for(path: str, **options: Any) -> dict[str, Any]:
    asked = "input" if path == "/v1/responses" else "messages"
    return {"model": "m", asked: HELLO, "max_tokens": 100, "stream_options": {"include_usage": True}, **options}


@contextmanager
def connection(server: ScriptedModelServer) -> Iterator[http.client.HTTPConnection]:
    raw = http.client.HTTPConnection("127.0.0.1", port_of(server), timeout=5)
    try:
        yield raw
    finally:
        raw.close()


def send(server: ScriptedModelServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    with connection(server) as raw:
        raw.request(method, path, body=body, headers=headers)
        answer = raw.getresponse()
        return answer.status, answer.read()


def port_of(server: ScriptedModelServer) -> int:
    port = urlsplit(server.base_url).port
    assert port
    return port


class TestChatCompletions:
    def test_text(self) -> None:
        with ScriptedModelServer([Reply(text="It is on its way.")]) as server:
            answer = chat(server)
        assert answer.choices[0].message.content == "It is on its way."
        assert answer.choices[0].finish_reason == "stop"
        assert (answer.id, answer.created, answer.model) == ("chatcmpl-000001", 1_767_225_600, "gpt-5-mini")
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (5, 6, 11)
        assert answer._request_id == "req_000001"

    def test_usage_is_what_the_script_says(self) -> None:
        reply = Reply(
            input_tokens=900,
            output_tokens=80,
            cached_input_tokens=500,
            cache_write_tokens=300,
            reasoning_tokens=60,
            model="gpt-5-mini-2025-08-07",
            finish_reason="content_filter",
        )
        with ScriptedModelServer([reply]) as server:
            answer = chat(server)
        usage = answer.usage
        assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (900, 80, 980)
        assert (usage.prompt_tokens_details.cached_tokens, usage.prompt_tokens_details.cache_write_tokens) == (500, 300)
        assert usage.completion_tokens_details.reasoning_tokens == 60
        assert (answer.model, answer.choices[0].finish_reason) == ("gpt-5-mini-2025-08-07", "content_filter")

    def test_several_tool_calls(self) -> None:
        with ScriptedModelServer([Reply(tool_calls=TWO_CALLS)]) as server:
            choice = chat(server).choices[0]
        calls = choice.message.tool_calls
        assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == list(TWO_CALLS)
        assert [call.id for call in calls] == ["call_000001_0", "call_000001_1"]
        assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")

    def test_stream(self) -> None:
        options: Any = {"model": "m", "messages": HELLO, "stream_options": {"include_usage": True}}
        with (
            ScriptedModelServer([Reply(text="One  moment,\nplease.", tool_calls=TWO_CALLS)]) as server,
            openai_client(server) as client,
            client.chat.completions.stream(**options) as stream,
        ):
            said = [event.delta for event in stream if event.type == "content.delta"]
            answer = stream.get_final_completion()
        assert said == ["", "One  ", "moment,\n", "please."]
        message = answer.choices[0].message
        assert message.content == "One  moment,\nplease."
        assert [(c.function.name, json.loads(c.function.arguments)) for c in message.tool_calls or ()] == list(
            TWO_CALLS
        )
        assert answer.usage
        assert answer.usage.completion_tokens == server.ledger.output_tokens > 0

    def test_stream_says_its_usage_last_and_only_when_asked(self) -> None:
        with ScriptedModelServer([Reply(text="Hi"), Reply(text="Hi")]) as server, openai_client(server) as client:
            asked = list(
                client.chat.completions.create(
                    model="m", messages=HELLO, stream=True, stream_options={"include_usage": True}
                )
            )
            unasked = list(client.chat.completions.create(model="m", messages=HELLO, stream=True))
        assert [bool(chunk.usage) for chunk in asked] == [False] * (len(asked) - 1) + [True]
        assert asked[-1].choices == []
        assert len(unasked) == len(asked) - 1
        assert not any(chunk.usage or not chunk.choices for chunk in unasked)

    def test_stream_on_the_wire_ends_with_done(self) -> None:
        path = PATHS[0]
        with ScriptedModelServer([Reply(text="Hi")]) as server:
            _, raw = send(server, "POST", path, json.dumps(body_for(path, stream=True)))
        events = raw.decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        assert json.loads(events[-3].removeprefix("data: "))["usage"]["completion_tokens"] == 1

    async def test_async(self) -> None:
        with ScriptedModelServer([Reply(text="Hi there"), Reply(text="Hi there")]) as server:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
                answer = await client.chat.completions.create(model="m", messages=HELLO)
                stream = await client.chat.completions.create(model="m", messages=HELLO, stream=True)
                chunks = [chunk async for chunk in stream]
        assert answer.choices[0].message.content == "Hi there"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hi there"
        assert server.ledger.answered == 2


class TestResponses:
    def test_text(self) -> None:
        reply = Reply(text="Soon.", input_tokens=70, cached_input_tokens=30, cache_write_tokens=20, reasoning_tokens=9)
        with ScriptedModelServer([reply]) as server:
            answer = respond(server, metadata={"team": "support"})
        assert (answer.id, answer.status, answer.output_text) == ("resp_000001", "completed", "Soon.")
        assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (70, 11, 81)
        details = answer.usage.input_tokens_details
        assert (details.cached_tokens, details.cache_write_tokens) == (30, 20)
        assert answer.usage.output_tokens_details.reasoning_tokens == 9
        assert answer.metadata == {"team": "support"}

    def test_several_tool_calls(self) -> None:
        with ScriptedModelServer([Reply(tool_calls=TWO_CALLS)]) as server:
            answer = respond(server)
        assert [(item.name, json.loads(item.arguments)) for item in answer.output] == list(TWO_CALLS)
        assert [item.call_id for item in answer.output] == ["call_000001_0", "call_000001_1"]

    def test_stream(self) -> None:
        with (
            ScriptedModelServer([Reply(text="One moment, please.", tool_calls=TWO_CALLS)]) as server,
            openai_client(server) as client,
            client.responses.stream(model="m", input="Hi") as stream,
        ):
            events: list[Any] = list(stream)
            answer: Any = stream.get_final_response()
        assert [event.sequence_number for event in events] == list(range(len(events)))
        assert [event.type for event in events if "response" in vars(event)] == [
            "response.created",
            "response.in_progress",
            "response.completed",
        ]
        said = [bool(event.response.usage) for event in events if "response" in vars(event)]
        assert said == [False, False, True]
        assert answer.output_text == "One moment, please."
        assert [json.loads(item.arguments) for item in answer.output[1:]] == [arguments for _, arguments in TWO_CALLS]
        assert answer.usage
        assert answer.usage.output_tokens == server.ledger.output_tokens > 0

    def test_a_cut_answer_is_incomplete(self) -> None:
        script = [Reply(text="one two three")] * 2
        with ScriptedModelServer(script) as server:
            answer = respond(server, max_output_tokens=2)
            *_, last = respond(server, max_output_tokens=2, stream=True)
        assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert (answer.output_text, answer.usage.output_tokens) == ("one two", 2)
        assert (last.type, last.response.usage.output_tokens) == ("response.incomplete", 2)

    async def test_async_stream(self) -> None:
        with ScriptedModelServer([Reply(text="Hi there")]) as server:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key=KEY, max_retries=0) as client:
                stream = await client.responses.create(model="m", input="Hi", stream=True)
                events: list[Any] = [event async for event in stream]
        assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "Hi there"
        assert events[-1].response.usage.total_tokens == 3


class TestMessages:
    def test_text(self) -> None:
        reply = Reply(text="Soon.", input_tokens=70, cached_input_tokens=30, cache_write_tokens=20, reasoning_tokens=9)
        with ScriptedModelServer([reply]) as server:
            answer = message(server)
        assert (answer.id, answer.stop_reason, answer.content[0].text) == ("msg_000001", "end_turn", "Soon.")
        usage = answer.usage
        assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (20, 30, 20)
        assert (usage.output_tokens, usage.output_tokens_details.thinking_tokens) == (11, 9)
        assert (server.ledger.input_tokens, server.ledger.output_tokens) == (70, 11)

    def test_several_tool_calls(self) -> None:
        with ScriptedModelServer([Reply(tool_calls=TWO_CALLS)]) as server:
            answer = message(server)
        assert [(block.name, block.input) for block in answer.content] == list(TWO_CALLS)
        assert answer.stop_reason == "tool_use"

    def test_stream(self) -> None:
        reply = Reply(text="One moment.", tool_calls=TWO_CALLS, input_tokens=9, cached_input_tokens=4, output_tokens=30)
        with (
            ScriptedModelServer([reply]) as server,
            anthropic_client(server) as client,
            client.messages.stream(model="claude", max_tokens=99, messages=HELLO) as stream,
        ):
            events: list[Any] = list(stream)
            answer: Any = stream.get_final_message()
        first, last = events[0].message.usage, next(event for event in events if event.type == "message_delta").usage
        assert (first.input_tokens, first.cache_read_input_tokens, first.output_tokens) == (5, 4, 1)
        assert (last.input_tokens, last.cache_read_input_tokens, last.output_tokens) == (5, 4, 30)
        text, *calls = answer.content
        assert text.text == "One moment."
        assert [(call.name, call.input) for call in calls] == list(TWO_CALLS)
        assert answer.stop_reason == "tool_use"

    async def test_async(self) -> None:
        with ScriptedModelServer([Reply(text="Hi there"), Reply(text="Hi there")]) as server:
            async with anthropic.AsyncAnthropic(
                base_url=server.anthropic_base_url, api_key=KEY, max_retries=0
            ) as client:
                answer: Any = await client.messages.create(model="claude", max_tokens=9, messages=HELLO)
                async with client.messages.stream(model="claude", max_tokens=9, messages=HELLO) as stream:
                    streamed = await stream.get_final_text()
        assert answer.content[0].text == streamed == "Hi there"

    def test_max_tokens_is_required(self) -> None:
        with ScriptedModelServer([]) as server:
            status, raw = send(server, "POST", "/v1/messages", json.dumps({"model": "claude", "messages": HELLO}))
        assert (status, json.loads(raw)["error"]["type"]) == (400, "invalid_request_error")


class TestRequest:
    """A script sees the same request, whichever API it came by."""

    TOOLS = [{"name": "kb.search", "description": "Finds articles.", "parameters": {"type": "object"}}]
    MESSAGES = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Refund?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "c1", "name": "kb.search", "arguments": {"q": "x"}}],
        },
        {"role": "tool", "content": "Two weeks.", "tool_call_id": "c1"},
        {"role": "user", "content": "Sure?\nReally?"},
    ]

    def served(self, path: str, body: dict[str, Any]) -> Request:
        seen: list[Request] = []

        def script(request: Request) -> Reply:
            seen.append(request)
            return Reply()

        with ScriptedModelServer(script) as server:
            assert send(server, "POST", path + "?beta=true", json.dumps(body))[0] == 200
        return seen[0]

    def chat_body(self) -> dict[str, Any]:
        function = {"name": "kb.search", "arguments": '{"q": "x"}'}
        messages = [
            self.MESSAGES[0],
            {"role": "user", "content": [{"type": "text", "text": "Refund?"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
            *self.MESSAGES[3:],
        ]
        tools = [{"type": "function", "function": self.TOOLS[0]}]
        return {"model": "m", "messages": messages, "tools": tools, "max_completion_tokens": 50, "max_tokens": 60}

    def responses_body(self) -> dict[str, Any]:
        items = [
            {"role": "user", "content": [{"type": "input_text", "text": "Refund?"}]},
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "kb.search", "arguments": '{"q": "x"}'},
            {"type": "function_call_output", "call_id": "c1", "output": "Two weeks."},
            {"type": "message", **self.MESSAGES[4]},
        ]
        tools = [{"type": "function", **self.TOOLS[0]}]
        return {"model": "m", "instructions": "Be brief.", "input": items, "tools": tools, "max_output_tokens": 50}

    def messages_body(self) -> dict[str, Any]:
        result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "Two weeks."}]}
        texts = [{"type": "text", "text": "Sure?"}, {"type": "text", "text": "Really?"}]
        messages = [
            self.MESSAGES[1],
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "kb.search", "input": {"q": "x"}}],
            },
            {"role": "user", "content": [result, *texts]},
        ]
        tools = [{"name": "kb.search", "description": "Finds articles.", "input_schema": {"type": "object"}}]
        return {"model": "m", "system": "Be brief.", "messages": messages, "tools": tools, "max_tokens": 50}

    @pytest.mark.parametrize("name", ["chat", "responses", "messages"])
    def test_is_the_same_for_every_api(self, name: str) -> None:
        path = next(path for path in PATHS if name in path)
        request = self.served(path, getattr(self, f"{name}_body")())
        assert request.messages == self.MESSAGES
        assert request.tools == self.TOOLS
        assert (request.number, request.path, request.model, request.max_output_tokens) == (0, path, "m", 50)
        assert request.input_tokens == (3 + 2 + (3 + 9) + 3 + 4) + (3 + 3 + 9)

    def test_built_in_tools_and_broken_arguments_are_kept(self) -> None:
        function = {"name": "kb.search", "arguments": '{"q": '}
        body = {
            "model": "m",
            "messages": [{"role": "assistant", "tool_calls": [{"id": "c1", "function": function}]}],
            "tools": [{"type": "web_search"}],
        }
        request = self.served("/v1/chat/completions", body)
        assert request.messages[0]["tool_calls"][0]["arguments"] == '{"q": '
        assert request.tools == [{"name": "web_search", "description": "", "parameters": {}}]

    def test_trailing_calls_are_a_message(self) -> None:
        call = {"type": "function_call", "call_id": "c1", "name": "t", "arguments": "{}"}
        request = self.served("/v1/responses", {"model": "m", "input": [call, call | {"call_id": "c2"}]})
        assert [call["id"] for call in request.messages[0]["tool_calls"]] == ["c1", "c2"]

    def test_holds_no_key(self) -> None:
        seen: list[Request] = []

        def script(request: Request) -> Reply:
            seen.append(request)
            return Reply()

        with ScriptedModelServer(script) as server:
            chat(server, extra_headers={"Cookie": KEY, "Api-Key": KEY, "Proxy-Authorization": KEY, "X-Team": "support"})
            message(server)
        assert [request.path for request in seen] == ["/v1/chat/completions", "/v1/messages"]
        assert KEY not in repr(seen)
        assert seen[0].headers["x-team"] == "support"


class TestTokens:
    @pytest.mark.parametrize(
        ("text", "tokens"), [("", 0), (" \n", 0), ("don't", 3), ("Grüße, Welt!", 4), ("a_b 1.5", 4), ("東京", 1)]
    )
    def test_are_words_and_signs(self, text: str, tokens: int) -> None:
        assert count_tokens(text) == tokens

    @pytest.mark.parametrize(
        ("reply", "most", "text", "calls", "tokens", "finish"),
        [
            (Reply(text="one two three"), 3, "one two three", 0, 3, "stop"),
            (Reply(text="one two, three"), 3, "one two,", 0, 3, "length"),
            (Reply(text="one two", output_tokens=500), 20, "one two", 0, 20, "length"),
            (Reply(text="one two three", output_tokens=1), 2, "one two three", 0, 1, "stop"),
            (Reply(text="one two", reasoning_tokens=8), 9, "one", 0, 9, "length"),
            (Reply(text="one two", reasoning_tokens=8), 5, "", 0, 5, "length"),
            (Reply(text="hm", tool_calls=[("f", {}), ("g", {})]), 7, "hm", 2, 7, "tool_calls"),
            (Reply(text="hm", tool_calls=[("f", {}), ("g", {})]), 6, "hm", 1, 6, "length"),
        ],
    )
    def test_never_exceed_the_limit(
        self, reply: Reply, most: int, text: str, calls: int, tokens: int, finish: str
    ) -> None:
        with ScriptedModelServer([reply] * 2) as server:
            answers = chat(server, max_tokens=most), chat(server, max_completion_tokens=most)
        for answer in answers:
            said = answer.choices[0].message
            assert (said.content or "", len(said.tool_calls or ())) == (text, calls)
            assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (tokens, finish)
        assert (server.ledger.output_tokens, server.ledger.tool_calls) == (2 * tokens, 2 * calls)

    def test_reasoning_and_cached_tokens_stay_inside(self) -> None:
        with ScriptedModelServer([Reply(reasoning_tokens=80, output_tokens=90, cached_input_tokens=50)]) as server:
            usage = chat(server, max_tokens=30).usage
        assert (usage.completion_tokens, usage.completion_tokens_details.reasoning_tokens) == (30, 30)
        assert (usage.prompt_tokens, usage.prompt_tokens_details.cached_tokens) == (50, 50)

    @pytest.mark.parametrize("limit", [0, -1, "many", True, 1.5])
    def test_a_limit_that_is_none_is_refused(self, limit: object) -> None:
        with ScriptedModelServer([Reply()]) as server, pytest.raises(openai.BadRequestError, match="limit"):
            chat(server, max_tokens=limit)


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "name", "kind"),
        [
            (400, "BadRequestError", "invalid_request_error"),
            (401, "AuthenticationError", "authentication_error"),
            (404, "NotFoundError", "not_found_error"),
            (429, "RateLimitError", "rate_limit_error"),
            (500, "InternalServerError", None),
            (529, "InternalServerError", None),
        ],
    )
    @pytest.mark.parametrize("stream", [False, True])
    def test_status(self, status: int, name: str, kind: str | None, stream: bool) -> None:
        with ScriptedModelServer([Reply(status=status, text="not now")] * 2) as server:
            with pytest.raises(getattr(openai, name), match="not now") as ours:
                chat(server, stream=stream)
            with pytest.raises(getattr(anthropic, name), match="not now") as theirs:
                message(server, stream=stream)
        assert ours.value.status_code == theirs.value.status_code == status
        assert ours.value.type == (kind or "server_error")
        assert theirs.value.body["error"]["type"] == (kind or {500: "api_error", 529: "overloaded_error"}[status])
        assert [entry.status for entry in server.ledger.entries] == [status, status]
        assert (server.ledger.answered, server.ledger.input_tokens, server.ledger.output_tokens) == (0, 0, 0)

    def test_retry_after(self) -> None:
        limited = Reply(status=429, retry_after=timedelta(milliseconds=20))
        with ScriptedModelServer([limited, Reply(text="now")]) as server:
            with openai_client(server) as client, pytest.raises(openai.RateLimitError) as caught:
                client.chat.completions.create(model="m", messages=HELLO)
            assert caught.value.response.headers["retry-after"] == "1"
            assert caught.value.response.headers["retry-after-ms"] == "20"
        with (
            ScriptedModelServer([limited, Reply(text="now")]) as server,
            openai_client(server, max_retries=1) as client,
        ):
            answer = client.chat.completions.create(model="m", messages=HELLO)
        assert answer.choices[0].message.content == "now"
        assert (server.ledger.requests, server.ledger.answered) == (2, 1)

    def test_a_list_that_is_used_up_says_so_once(self) -> None:
        with ScriptedModelServer([Reply(text="only")]) as server, openai_client(server, max_retries=2) as client:
            client.chat.completions.create(model="m", messages=HELLO)
            with pytest.raises(openai.InternalServerError, match="no more replies: it had 1"):
                client.chat.completions.create(model="m", messages=HELLO)
        assert server.ledger.requests == 2

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_a_script_that_raises_gives_its_type_only(
        self, error: type[BaseException], capfd: pytest.CaptureFixture[str]
    ) -> None:
        def script(_: Request) -> Reply:
            raise error("a secret")

        with ScriptedModelServer(script) as server, pytest.raises(openai.InternalServerError) as caught:
            chat(server)
        assert error.__name__ in str(caught.value)
        assert "secret" not in str(caught.value)
        assert server.ledger.entries[0].status == 500
        assert capfd.readouterr().err == ""

    def test_a_script_that_gives_something_else(self) -> None:
        script: Any = lambda _: "hello"  # noqa: E731
        with ScriptedModelServer(script) as server, pytest.raises(openai.InternalServerError, match="gave a str"):
            chat(server)

    def test_a_reply_that_cannot_be_sent_prints_nothing(
        self, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        reply = Reply()
        object.__setattr__(reply, "tool_calls", (("t", {"x": object()}),))
        with ScriptedModelServer([reply]) as server, pytest.raises(openai.APIConnectionError):
            chat(server)
        assert capfd.readouterr().err == ""
        assert not [record for record in caplog.records if "otel_agent" in record.name and record.levelname != "DEBUG"]

    @pytest.mark.parametrize("stream", [False, True])
    def test_drop_before_anything(self, stream: bool) -> None:
        with ScriptedModelServer([Reply(text="x", drop="before")]) as server:
            with pytest.raises(openai.APIConnectionError):
                chat(server, stream=stream)
            entry = server.ledger.wait_for(1)[0]
        assert (entry.status, entry.completed, entry.output_tokens) == (None, False, 0)

    def test_drop_midway_through_a_document(self) -> None:
        with ScriptedModelServer([Reply(text="x", drop="midway")]) as server:
            with pytest.raises(openai.APIConnectionError):
                chat(server)
            entry = server.ledger.wait_for(1)[0]
        assert (entry.status, entry.completed) == (200, False)

    def test_drop_midway_through_a_stream(self) -> None:
        text = "one two three four five six"
        with ScriptedModelServer([Reply(text=text, drop="midway")]) as server, openai_client(server) as client:
            stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
            got: list[str] = []
            with pytest.raises(Exception, match=r"incomplete|closed|Connection") as caught:
                got.extend(chunk.choices[0].delta.content or "" for chunk in stream)
            entry = server.ledger.wait_for(1)[0]
        assert type(caught.value).__name__ in {"RemoteProtocolError", "APIConnectionError"}
        assert (entry.status, entry.completed, entry.output_tokens, server.ledger.answered) == (200, False, 6, 0)

    def test_drop_midway_sends_some_events_but_not_the_last(self) -> None:
        path, text = PATHS[0], "one two three four five six"
        with ScriptedModelServer([Reply(text=text, drop="midway")]) as server, connection(server) as raw:
            raw.request("POST", path, body=json.dumps(body_for(path, stream=True)))
            with pytest.raises(http.client.IncompleteRead) as caught:
                raw.getresponse().read()
        assert b"one" in caught.value.partial
        assert b"six" not in caught.value.partial


class TestTime:
    def test_delay(self) -> None:
        with ScriptedModelServer([Reply(text="late", delay=timedelta(seconds=0.1))]) as server:
            started = time.monotonic()
            answer = chat(server)
        assert answer.choices[0].message.content == "late"
        assert time.monotonic() - started >= 0.1

    def test_chunk_delay_is_between_the_events(self) -> None:
        with ScriptedModelServer([Reply(text="a b", chunk_delay=0.03)]) as server, openai_client(server) as client:
            stream = client.chat.completions.create(model="m", messages=HELLO, stream=True)
            arrived = [time.monotonic() for _ in stream]
        assert len(arrived) == 4
        assert arrived[-1] - arrived[0] >= 0.06

    def test_a_client_that_times_out_is_seen_to_leave(self, capfd: pytest.CaptureFixture[str]) -> None:
        with ScriptedModelServer(lambda _: Reply(delay=600)) as server:
            with openai_client(server, timeout=0.1) as client, pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(model="m", messages=HELLO)
            entry = server.ledger.wait_for(1)[0]
        assert (entry.model, entry.status, entry.completed, entry.input_tokens) == ("m", None, False, 0)
        assert capfd.readouterr().err == ""

    def test_a_client_that_leaves_a_stream_is_seen_to_leave(self, capfd: pytest.CaptureFixture[str]) -> None:
        reply = Reply(text="word " * 1_000, chunk_delay=0.01)
        with ScriptedModelServer([reply, Reply(text="next")]) as server, openai_client(server) as client:
            with client.chat.completions.create(model="m", messages=HELLO, stream=True) as stream:
                next(iter(stream))
            entry = server.ledger.wait_for(1)[0]
            answer = client.chat.completions.create(model="m", messages=HELLO)
        assert (entry.status, entry.completed, entry.output_tokens) == (200, False, 1_000)
        assert (answer.choices[0].message.content, server.ledger.answered) == ("next", 1)
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize("reply", [Reply(delay=600), Reply(text="a b c", chunk_delay=600)], ids=["delay", "chunk"])
    def test_stop_ends_a_request_that_hangs(self, reply: Reply) -> None:
        asked = threading.Event()

        def script(_: Request) -> Reply:
            asked.set()
            return reply

        server = ScriptedModelServer(script).start()
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(lambda: list(chat(server, stream=True, timeout=30)))
            assert asked.wait(5)
            started = time.monotonic()
            server.stop()
            assert time.monotonic() - started < 0.5
            with pytest.raises(Exception, match=r"[Cc]onnection|incomplete"):
                hanging.result(5)
        assert not server.ledger.entries[0].completed

    def test_stop_ends_a_request_that_hangs_behind_another(self) -> None:
        """The second request is there already, so that its arrival cannot tell whether the client has left."""
        body = json.dumps(body_for(PATHS[0])).encode()
        asked = threading.Event()

        def script(_: Request) -> Reply:
            asked.set()
            return Reply(delay=600)

        with ScriptedModelServer(script) as server, socket.create_connection(("127.0.0.1", port_of(server))) as raw:
            raw.sendall(post(PATHS[0], body))
            assert asked.wait(5)
            raw.sendall(post(PATHS[0], body))
            started = time.monotonic()
            server.stop()
        assert time.monotonic() - started < 0.5
        assert [entry.status for entry in server.ledger.entries] == [None]

    def test_stop_returns_with_the_ledger_complete(self) -> None:
        asked = threading.Semaphore(0)

        def script(_: Request) -> Reply:
            asked.release()
            return Reply(delay=600)

        with ExitStack() as stack:
            server = stack.enter_context(ScriptedModelServer(script))
            for _ in range(32):
                raw = stack.enter_context(socket.create_connection(("127.0.0.1", port_of(server))))
                raw.sendall(post(PATHS[0], json.dumps(body_for(PATHS[0])).encode()))
            for _ in range(32):
                assert asked.acquire(timeout=5)
            server.stop()
            assert [entry.status for entry in server.ledger.entries] == [None] * 32

    def test_stop_does_not_wait_for_a_script_that_hangs(self) -> None:
        asked, go_on = threading.Event(), threading.Event()

        def script(_: Request) -> Reply:
            asked.set()
            go_on.wait(10)
            return Reply()

        server = ScriptedModelServer(script).start()
        with ThreadPoolExecutor(1) as pool:
            hanging = pool.submit(chat, server)
            assert asked.wait(5)
            started = time.monotonic()
            server.stop()
            assert time.monotonic() - started < 1
            go_on.set()
            assert isinstance(hanging.exception(5), openai.APIConnectionError)

    def test_stop_leaves_no_thread(self) -> None:
        before = threading.active_count()
        with ScriptedModelServer([Reply()]) as server, connection(server) as idle:
            idle.request("GET", "/v1/models")
            idle.getresponse().read()
            assert threading.active_count() > before
            server.stop()
            wait_for_no_thread_but(before)


class TestServer:
    def test_parallel_clients(self) -> None:
        def script(request: Request) -> Reply:
            return Reply(text=request.messages[0]["content"], tool_calls=[("t", {})], input_tokens=3, output_tokens=2)

        def ask(client: openai.OpenAI, worker: int) -> bool:
            asked = [f"worker {worker} turn {turn}" for turn in range(10)]
            answers = [
                client.chat.completions.create(model="m", messages=[{"role": "user", "content": content}])
                for content in asked
            ]
            return [answer.choices[0].message.content for answer in answers] == asked

        with ScriptedModelServer(script) as server, openai_client(server) as client:
            with ThreadPoolExecutor(16) as pool:
                assert all(pool.map(lambda worker: ask(client, worker), range(16)))
            ledger = server.ledger
            assert (ledger.requests, ledger.answered, ledger.tool_calls) == (160, 160, 160)
            assert (ledger.input_tokens, ledger.output_tokens) == (480, 320)
            assert [entry.number for entry in ledger.entries] == list(range(160))

    def test_two_servers_give_the_same_bytes(self) -> None:
        def script(request: Request) -> Reply:
            return Reply(
                text=f"Answer {request.number}", tool_calls=TWO_CALLS, status=429 if request.number == 4 else 200
            )

        def talk() -> list[bytes]:
            with ScriptedModelServer(script) as server:
                return [exchange(server, path, stream) for path in PATHS for stream in (False, True)]

        first, second = talk(), talk()
        assert first == second
        assert len(set(first)) == 6

    def test_a_client_finds_its_own_answer_in_the_ledger(self) -> None:
        with ScriptedModelServer(lambda _: Reply(text="a b c")) as server, openai_client(server) as client:
            for turn in range(50):
                for _ in client.chat.completions.create(model="m", messages=HELLO, stream=bool(turn % 2)):
                    pass
                assert server.ledger.answered == turn + 1

    def test_ledger_entry(self) -> None:
        reply = Reply(
            tool_calls=TWO_CALLS,
            input_tokens=9,
            output_tokens=8,
            cached_input_tokens=5,
            cache_write_tokens=2,
            reasoning_tokens=3,
            model="gpt-5-mini-2025",
        )
        with ScriptedModelServer([reply]) as server:
            respond(server, stream=False)
        assert server.ledger.entries == (
            Served(
                number=0,
                path="/v1/responses",
                model="gpt-5-mini-2025",
                status=200,
                input_tokens=9,
                output_tokens=8,
                cached_input_tokens=5,
                cache_write_tokens=2,
                reasoning_tokens=3,
                tool_calls=2,
                completed=True,
            ),
        )
        assert repr(server.ledger) == "<Ledger requests=1 answered=1>"

    def test_ledger_waits_no_longer_than_told(self) -> None:
        with ScriptedModelServer([Reply()]) as server:
            chat(server)
            assert len(server.ledger.wait_for(1, timeout=0)) == 1
            with pytest.raises(TimeoutError, match="1 of 2 requests"):
                server.ledger.wait_for(2, timeout=timedelta(milliseconds=10))

    def test_connections_are_kept(self) -> None:
        with ScriptedModelServer(lambda _: Reply(text="x")) as server, connection(server) as raw:
            used = set[int]()
            for path in (*PATHS, "/v1/nowhere", PATHS[0]):
                raw.request("POST", path, body=json.dumps(body_for(path, stream=path == PATHS[1])))
                raw.getresponse().read()
                assert raw.sock
                used.add(raw.sock.getsockname()[1])
        assert len(used) == 1

    def test_requests_sent_ahead_are_answered_in_turn(self) -> None:
        body = json.dumps(body_for(PATHS[0])).encode()
        with (
            ScriptedModelServer([Reply(text="first", delay=0.02), Reply(text="second")]) as server,
            socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as raw,
        ):
            raw.sendall(post(PATHS[0], body) * 2)
            server.ledger.wait_for(2)
            server.stop()
            got = b"".join(iter(lambda: raw.recv(65_536), b""))
        assert 0 < got.index(b"first") < got.index(b"second")

    def test_listens_on_the_loopback_address_only(self) -> None:
        with ScriptedModelServer([]) as server:
            assert server.base_url == f"http://127.0.0.1:{port_of(server)}/v1"
            with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.2", port_of(server))):
                pass

    def test_starts_again_where_it_was(self) -> None:
        server = ScriptedModelServer([Reply(text="one"), Reply(text="two")])
        with pytest.raises(RuntimeError, match="before it is started"):
            _ = server.base_url
        with server:
            assert server.start() is server
            address = server.base_url
            chat(server)
        assert "stopped" in repr(server)
        with pytest.raises(openai.APIConnectionError):
            chat(server)
        with server:
            assert server.base_url == address
            assert chat(server).id == "chatcmpl-000002"
        server.stop()
        assert server.ledger.answered == 2

    def test_models(self) -> None:
        with ScriptedModelServer([], models=["gpt-5-mini", "org/claude"]) as server:
            with openai_client(server) as client:
                assert [model.id for model in client.models.list()] == ["gpt-5-mini", "org/claude"]
                assert client.models.retrieve("org/claude").object == "model"
                with pytest.raises(openai.NotFoundError):
                    client.models.retrieve("gpt-2")
            with anthropic_client(server) as other:
                assert [model.display_name for model in other.models.list()] == ["gpt-5-mini", "org/claude"]
        with ScriptedModelServer([], models=[]) as server, openai_client(server) as client:
            assert list(client.models.list()) == []
        assert server.ledger.requests == 0


def wait_for_no_thread_but(number: int) -> None:
    deadline = time.monotonic() + 5
    while threading.active_count() > number:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def post(path: str, body: bytes, headers: str = "") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def exchange(server: ScriptedModelServer, path: str, stream: bool) -> bytes:
    """Gives every byte that comes back, the head included."""
    with socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as raw:
        raw.sendall(post(path, json.dumps(body_for(path, stream=stream)).encode(), "connection: close\r\n"))
        return b"".join(iter(lambda: raw.recv(65_536), b""))


class TestBadRequests:
    @pytest.mark.parametrize(
        ("body", "says"),
        [
            ("{", "not valid JSON"),
            ("", "not valid JSON"),
            (b"\xff\xfe\x00", "not valid JSON"),
            ("[" * 100_000, "not valid JSON"),
            ("[]", "shape"),
            ("7", "shape"),
            ('{"model": "m"}', "is missing"),
            ('{"model": "m", "messages": [7], "input": [7], "max_tokens": 1}', "shape"),
            ('{"model": "m", "messages": [], "input": [], "max_tokens": 1}', "at least one message"),
            ('{"model": 7, "messages": [{"role": "user", "content": ""}], "input": "x", "max_tokens": 1}', "a model"),
            (json.dumps({"model": "m", "stream": 7, "messages": HELLO, "input": "x", "max_tokens": 1}), "true"),
        ],
    )
    @pytest.mark.parametrize("path", PATHS)
    def test_bodies(self, path: str, body: str | bytes, says: str, capfd: pytest.CaptureFixture[str]) -> None:
        if body == '{"model": "m"}' and path == "/v1/messages":
            says = "max_tokens"
        with ScriptedModelServer([Reply()]) as server:
            status, raw = send(server, "POST", path, body)
            entry = server.ledger.entries[0]
            assert send(server, "POST", path, json.dumps(body_for(path)))[0] == 200
        error = json.loads(raw)["error"]
        assert (status, error["type"]) == (400, "invalid_request_error")
        assert says in error["message"]
        assert (entry.path, entry.status, entry.completed) == (path, 400, True)
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize(
        ("fields", "path"),
        [
            ({"stream_options": "x"}, PATHS[0]),
            ({"tools": [{"type": "function", "function": {"name": 7}}]}, PATHS[0]),
            ({"messages": [{"role": "tool", "content": "x"}]}, PATHS[0]),
            ({"messages": [{"role": "user", "content": [{"text": 7}]}]}, PATHS[0]),
            ({"tools": [{}]}, PATHS[1]),
            ({"input": [{"type": "function_call_output"}]}, PATHS[1]),
            ({"tools": [{"name": "t", "description": 7}]}, PATHS[2]),
            ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, PATHS[2]),
        ],
    )
    def test_fields(self, fields: dict[str, Any], path: str) -> None:
        with ScriptedModelServer([Reply()]) as server:
            status, raw = send(server, "POST", path, json.dumps(body_for(path, **fields)))
        assert (status, "shape" in json.loads(raw)["error"]["message"]) == (400, True)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/chat/completions", 405),
            ("HEAD", "/v1/messages", 405),
            ("DELETE", "/v1/responses", 405),
            ("POST", "/v1/models", 405),
            ("BREW", "/v1/chat/completions", 405),
            ("POST", "/v1/embeddings", 404),
            ("GET", "/", 404),
            ("GET", "/v1/modelsX", 404),
        ],
    )
    def test_paths_and_methods(self, method: str, path: str, status: int, capfd: pytest.CaptureFixture[str]) -> None:
        with ScriptedModelServer([]) as server:
            got, raw = send(server, method, path)
            _, theirs = send(server, method, path, **{"anthropic-version": "2023-06-01"})
            assert server.ledger.requests == 0
        assert got == status
        if method == "HEAD":
            assert raw == b""
        else:
            assert json.loads(raw)["error"]["message"]
            assert json.loads(theirs)["type"] == "error"
        assert capfd.readouterr().err == ""

    def test_the_allowed_method_is_named(self) -> None:
        with ScriptedModelServer([]) as server, connection(server) as raw:
            raw.request("PUT", "/v1/messages")
            assert raw.getresponse().headers["allow"] == "POST"

    def test_a_body_that_is_too_large(self) -> None:
        with ScriptedModelServer([Reply()], max_body_bytes=5_000) as server, openai_client(server) as client:
            for size in (6_000, 5_000_000):
                with pytest.raises(openai.APIStatusError, match="at most 5000") as caught:
                    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * size}])
                assert caught.value.status_code == 413
            assert client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x" * 4_000}])

    def test_a_body_that_is_too_large_is_refused_to_a_client_that_first_sends_all_of_it(self) -> None:
        with ScriptedModelServer([], max_body_bytes=5_000) as server:
            assert send(server, "POST", PATHS[0], b"x" * 5_000_000)[0] == 413

    def test_a_client_that_never_sends_its_large_body(self, capfd: pytest.CaptureFixture[str]) -> None:
        head = "POST /v1/messages HTTP/1.1\r\ncontent-length: 99999\r\n\r\n"
        with (
            ScriptedModelServer([], max_body_bytes=5_000) as server,
            socket.create_connection(("127.0.0.1", port_of(server)), timeout=5) as raw,
        ):
            raw.sendall(head.encode())
            assert b" 413 " in b"".join(iter(lambda: raw.recv(65_536), b""))
            wait_for_no_thread_but(threading.active_count() - 1)
        assert capfd.readouterr().err == ""

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            ("POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
            ("POST /v1/messages HTTP/1.1\r\ncontent-length: " + "9" * 5_000 + "\r\n\r\n", 400),
            ("POST /v1/messages HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 411),
            ("POST /v1/messages HTTP/7.1\r\n\r\n", 505),
            ("nonsense\r\n\r\n", 400),
        ],
    )
    def test_heads(self, head: str, status: int, capfd: pytest.CaptureFixture[str]) -> None:
        with ScriptedModelServer([]) as server, socket.create_connection(("127.0.0.1", port_of(server))) as raw:
            raw.settimeout(5)
            raw.sendall(head.encode())
            raw.shutdown(socket.SHUT_WR)
            got = b"".join(iter(lambda: raw.recv(65_536), b""))
        assert got.startswith(f"HTTP/1.1 {status} ".encode())
        assert json.loads(got.partition(b"\r\n\r\n")[2])["error"]["message"]
        assert capfd.readouterr().err == ""

    def test_a_client_that_hangs_up_in_its_own_body(self, capfd: pytest.CaptureFixture[str]) -> None:
        with ScriptedModelServer([Reply()]) as server:
            with socket.create_connection(("127.0.0.1", port_of(server))) as raw:
                raw.sendall(post(PATHS[0], b"x" * 100)[:-1])
            chat(server)
        assert server.ledger.requests == 1
        assert capfd.readouterr().err == ""


class TestSettings:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("text", None),
            ("text", b"bytes"),
            ("tool_calls", [("name",)]),
            ("tool_calls", [("", {})]),
            ("tool_calls", [("name", "{}")]),
            ("tool_calls", [("name", {"x": object()})]),
            ("tool_calls", [("name", {"x": float("nan")})]),
            ("tool_calls", 7),
            ("input_tokens", -1),
            ("output_tokens", True),
            ("cached_input_tokens", 1.5),
            ("finish_reason", ""),
            ("model", 7),
            ("delay", -0.1),
            ("delay", float("nan")),
            ("delay", float("inf")),
            ("delay", None),
            ("chunk_delay", True),
            ("retry_after", timedelta(seconds=-1)),
            ("status", 302),
            ("status", "500"),
            ("drop", "after"),
        ],
    )
    def test_reply(self, name: str, value: Any) -> None:
        with pytest.raises(InvalidSetting, match=name):
            Reply(**{name: value})

    def test_reply_parts_must_fit(self) -> None:
        Reply(input_tokens=5, cached_input_tokens=3, cache_write_tokens=2, output_tokens=1, reasoning_tokens=1)
        with pytest.raises(InvalidSetting, match="input_tokens"):
            Reply(input_tokens=4, cached_input_tokens=3, cache_write_tokens=2)
        with pytest.raises(InvalidSetting, match="output_tokens"):
            Reply(output_tokens=1, reasoning_tokens=2)

    def test_reply_names_the_nearest_field(self) -> None:
        with pytest.raises(InvalidSetting, match="tool_calls"):
            Reply(toolcalls=[])  # type: ignore[call-arg]

    def test_reply_keeps_a_copy_of_its_calls(self) -> None:
        arguments = {"ids": [1]}
        reply = Reply(tool_calls=[("t", arguments)])
        arguments["ids"].append(2)
        assert reply.tool_calls == (("t", {"ids": [1]}),)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("script", None),
            ("script", "hello"),
            ("script", [Reply(), "hello"]),
            ("port", -1),
            ("port", 70_000),
            ("models", "gpt-5"),
            ("models", [""]),
            ("max_body_bytes", 0),
            ("host", "0.0.0.0"),
        ],
    )
    def test_server(self, name: str, value: Any) -> None:
        with pytest.raises(InvalidSetting, match=name):
            ScriptedModelServer(**{"script": [], name: value})
