"""What was recorded is said again, to agents as they are written with the SDKs; what was not fails the trial."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from opentelemetry.context import Context

from otel_agent import (
    AgentStop,
    Budget,
    InvalidSetting,
    ToolDenied,
    agent_run,
    llm_call,
    tool_call,
    tool_calls,
)
from otel_agent import context as ctx
from otel_agent.config.values import GoldenTask
from otel_agent.golden.replay import NotRecorded, Player, Recorder, ReplayedError, Replayer, in_context, read_recording
from otel_agent.run.playing import playing
from otel_agent.stop import StopCode
from otel_agent.testing import Reply, ScriptedModelServer, capture

KEY = "sk-proj-abcdefghijklmnop1234"
TASK = GoldenTask(id="kb_lookup", input="What does it cost?", expect_stop_reason=StopCode.FINISH)
MODEL = "gpt-5-mini"


@dataclass
class Live:
    """What really happened outside."""

    server: ScriptedModelServer
    tools: list[Any] = field(default_factory=list)

    @property
    def counts(self) -> tuple[int, int]:
        return self.server.ledger.requests, len(self.tools)

    @cached_property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=self.server.base_url, api_key=KEY, max_retries=0)

    @cached_property
    def anthropic(self) -> anthropic.Anthropic:
        return anthropic.Anthropic(base_url=self.server.anthropic_base_url, api_key=KEY)

    def async_openai(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.server.base_url, api_key=KEY)

    def async_anthropic(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.server.anthropic_base_url, api_key=KEY)


@contextmanager
def serving(script: Any) -> Iterator[Live]:
    with ScriptedModelServer(script) as server:
        live = Live(server)
        with live.openai, live.anthropic:
            yield live


@pytest.fixture
def live() -> Iterator[Live]:
    with serving(lambda request: Reply(text=f"answer {request.number} to you")) as live:
        yield live


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "support.recording.jsonl"


@dataclass
class Played:
    """How one trial went."""

    output: Any
    error: BaseException | None
    problem: str | None
    steps: int
    tool_calls: int
    tokens: int
    spans: list[str]
    stop_reason: str


def play(player: Player, agent: Callable[..., Any], *asked: Any, task: GoldenTask = TASK, repeat: int = 1) -> Played:
    """Runs one trial as the runner does."""
    tape = player.tape(task, repeat)
    output, error = None, None
    before = ctx.activate(in_context(tape, Context()))
    try:
        with capture() as kept:
            try:
                output = agent(*asked)
                output = asyncio.run(output) if asyncio.iscoroutine(output) else output
            except (Exception, NotRecorded) as exc:
                error = exc
    finally:
        ctx.activate(before)
    run = kept.records.runs[-1]
    tape.end(run.usage.steps)
    return Played(
        output,
        error,
        tape.problem,
        run.usage.steps,
        run.usage.tool_calls,
        run.usage.total_tokens or 0,
        [span.name for span in kept.spans],
        str(run.stop_reason),
    )


def both(live: Live, file: Path, agent: Callable[..., Any], *asked: Any) -> tuple[Played, Played]:
    """Records a trial and replays it, with nothing asked a second time."""
    with Recorder(file) as recorder:
        first = play(recorder, agent, *asked)
    before = live.counts
    with Replayer(file) as replayer:
        second = play(replayer, agent, *asked)
    assert live.counts == before
    return first, second


def chat(client: openai.OpenAI, text: str, **more: Any) -> Any:
    with llm_call(MODEL, provider="openai") as call:
        reply = client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": text}], **more)
        call.record(reply)
    return reply.choices[0].message.content


# the model boundary


def openai_plain(live: Live) -> Callable[..., Any]:
    return lambda: [chat(live.openai, "a"), chat(live.openai, "b")]


def openai_stream(live: Live) -> Callable[..., Any]:
    @llm_call(MODEL, provider="openai")
    def stream(text: str) -> Any:
        return live.openai.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": text}],
            stream=True,
            stream_options={"include_usage": True},
        )

    return lambda: [chunk.choices[0].delta.content for text in "ab" for chunk in stream(text) if chunk.choices]


def openai_async(live: Live) -> Callable[..., Any]:
    async def agent() -> list[Any]:
        found = []
        async with live.async_openai() as client:
            for text in "ab":
                async with llm_call(MODEL, provider="openai") as call:
                    reply = await client.responses.create(model=MODEL, input=text)
                    call.record(reply)
                found.append(reply.output_text)
        return found

    return agent


def openai_async_stream(live: Live) -> Callable[..., Any]:
    async def agent() -> list[Any]:
        found = []
        async with live.async_openai() as client, llm_call(MODEL, provider="openai") as call:
            stream = await client.responses.create(model=MODEL, input="a", stream=True)
            async for event in stream:
                found.append(event.type)
            call.record(event)
        return found

    return agent


def anthropic_plain(live: Live) -> Callable[..., Any]:
    def agent() -> str:
        with llm_call("claude", provider="anthropic") as call:
            reply = live.anthropic.messages.create(
                model="claude", max_tokens=99, messages=[{"role": "user", "content": "a"}]
            )
            call.record(reply)
        return str(reply.content[0].text)  # type: ignore[union-attr]

    return agent


def anthropic_async_stream(live: Live) -> Callable[..., Any]:
    async def agent() -> list[str]:
        async with (
            live.async_anthropic() as client,
            llm_call("claude", provider="anthropic") as call,
            client.messages.stream(
                model="claude", max_tokens=99, messages=[{"role": "user", "content": "a"}]
            ) as stream,
        ):
            found = [text async for text in stream.text_stream]
            call.record(await stream.get_final_message())
        return found

    return agent


@pytest.mark.parametrize(
    "write",
    [openai_plain, openai_stream, openai_async, openai_async_stream, anthropic_plain, anthropic_async_stream],
    ids=lambda write: write.__name__,
)
def test_a_model_says_again_what_it_said(live: Live, file: Path, write: Callable[[Live], Any]) -> None:
    first, second = both(live, file, agent_run("bot")(write(live)))
    assert first == second
    assert first.output
    assert first.tokens > 0
    assert first.error is None
    assert live.server.ledger.requests == first.steps


def test_equal_requests_get_their_answers_in_order(live: Live, file: Path) -> None:
    client = live.openai
    first, second = both(live, file, agent_run("bot")(lambda: [chat(client, "same") for _ in range(3)]))
    assert second.output == first.output == [f"answer {number} to you" for number in range(3)]


def test_the_key_is_no_header_and_no_host(live: Live, file: Path) -> None:
    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(lambda: chat(live.openai, "a", extra_headers={"x-secret": "hunter2"})))
    other = openai.OpenAI(base_url="http://other.invalid/v1", api_key="another")
    with Replayer(file) as replayer, other:
        assert play(replayer, agent_run("bot")(lambda: chat(other, "a"))).output == "answer 0 to you"


def test_an_error_of_the_server_comes_again_and_the_sdk_tries_again(file: Path) -> None:
    with serving([Reply(status=500, text="down"), Reply(text="up again")]) as live:
        client = live.openai.with_options(max_retries=1)
        first, second = both(live, file, agent_run("bot")(lambda: chat(client, "a")))
    assert first.output == second.output == "up again"


@pytest.mark.parametrize("drop", ["before", "midway"])
def test_a_broken_connection_breaks_again(file: Path, drop: Any) -> None:
    with serving(lambda _: Reply(text="a long answer that never ends", drop=drop)) as live:
        first, second = both(live, file, agent_run("bot")(lambda: chat(live.openai, "a")))
    assert type(first.error) is type(second.error) is openai.APIConnectionError
    assert second.error is not None
    assert type(second.error.__cause__) is type(first.error.__cause__)
    assert second.stop_reason == first.stop_reason == "llm_error"


def test_a_body_that_came_compressed_is_kept_as_text(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = gzip.compress(b'{"ok": "yes"}')
    headers = {"content-encoding": "gzip", "content-type": "application/json", "set-cookie": "a=b"}
    monkeypatch.setattr(
        httpx2.HTTPTransport, "handle_request", lambda *_: httpx2.Response(200, headers=headers, stream=Once(body))
    )

    @agent_run("bot")
    def agent() -> Any:
        with llm_call("m") as call, httpx2.Client(base_url="http://127.0.0.1:9") as client:
            call.record(input_tokens=1, output_tokens=1)
            return client.post("/x", json={"model": "m"}).json()

    with Recorder(file) as recorder:
        first = play(recorder, agent)
    with Replayer(file) as replayer:
        assert play(replayer, agent) == first
    assert first.output == {"ok": "yes"}
    assert read_recording(file)[0].exchanges[0].answer.value == '{"ok": "yes"}'
    assert "set-cookie" not in file.read_text()


class Once(httpx2.SyncByteStream):
    """A body that is read once."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def __iter__(self) -> Iterator[bytes]:
        yield self.body[:9]
        yield self.body[9:]


def test_requests_outside_an_llm_call_go_their_way(live: Live, file: Path) -> None:
    def agent() -> str:
        listed = live.openai.models.list().data[0].id
        return f"{listed} {chat(live.openai, 'a')}"

    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(agent))
    with Replayer(file) as replayer:
        assert play(replayer, agent_run("bot")(agent)).output == "gpt-5-mini answer 0 to you"
        chat(live.openai, "another, of no trial")
    assert [entry.path for entry in live.server.ledger.entries if "chat" in entry.path] == ["/v1/chat/completions"] * 2


def test_what_was_wrapped_is_as_before(file: Path) -> None:
    before = httpx2.HTTPTransport.handle_request, httpx2.AsyncHTTPTransport.handle_async_request
    with Recorder(file):
        assert httpx2.HTTPTransport.handle_request is not before[0]
        with Recorder(file):
            assert playing.stand_in is not None
        assert playing.stand_in is not None
    assert (httpx2.HTTPTransport.handle_request, httpx2.AsyncHTTPTransport.handle_async_request) == before
    assert playing.stand_in is None


# the tool boundary


def test_a_tool_gives_again_what_it_gave(live: Live, file: Path) -> None:
    @tool_call("kb.search")
    def search(query: str, *, most: int = 3) -> dict[str, Any]:
        live.tools.append(query)
        return {"query": query, "number": len(live.tools), "most": most}

    @tool_call("kb.later")
    async def later(query: str) -> list[str]:
        live.tools.append(query)
        return [query]

    @agent_run("bot", budget=Budget(max_tool_calls=10))
    async def agent() -> Any:
        with tool_calls([("kb.search", {"query": "c"})]) as slots, slots[0]:
            batch = search("c")
        return search("a"), search("a"), search(query="a", most=3), search("b"), await later("x"), batch

    first, second = both(live, file, agent)
    assert first == second
    assert first.tool_calls == 6
    assert first.spans.count("execute_tool kb.search") == 5


def test_a_method_is_its_arguments_without_its_object(live: Live, file: Path) -> None:
    class Shop:
        @tool_call
        def price(self, article: str, shop: object) -> int:
            live.tools.append(article)
            return len(article)

    first, second = both(live, file, agent_run("bot")(lambda: Shop().price("pen", Shop())))
    assert first.output == second.output == 3


class OutOfStock(LookupError):
    """A tool's own error."""


@pytest.mark.parametrize("kind", [OutOfStock, KeyError, TimeoutError, PermissionError], ids=lambda kind: kind.__name__)
def test_an_error_of_a_tool_is_raised_again(live: Live, file: Path, kind: type[Exception]) -> None:
    @tool_call("stock")
    def stock() -> None:
        live.tools.append(1)
        raise kind("none left")

    def told() -> str:
        try:
            stock()
        except kind as exc:
            caught.append(exc)
            return f"{type(exc).__name__}: {exc}"
        return "nothing"

    caught: list[Exception] = []
    with Recorder(file) as recorder:
        first = play(recorder, agent_run("bot")(told))
    with Replayer(file) as replayer:
        second = play(replayer, agent_run("bot")(told))
        uncaught = play(replayer, agent_run("bot")(stock))
    assert first.output == second.output
    assert [isinstance(exc, ReplayedError) for exc in caught] == [False, True]
    assert uncaught.stop_reason == ("tool_timeout" if kind is TimeoutError else "tool_error")
    assert len(live.tools) == 1


def test_budgets_hold_in_a_replay(live: Live, file: Path) -> None:
    @tool_call("kb.search")
    def search(query: str) -> str:
        return query

    def agent(limit: int) -> Any:
        @agent_run("bot", budget=Budget(max_calls_per_tool={"kb.search": limit}))
        def run() -> list[str]:
            found = []
            for number in range(3):
                try:
                    found.append(search(str(number)))
                except ToolDenied as denied:
                    found.append(str(denied.reason))
            return found

        return run

    with Recorder(file) as recorder:
        play(recorder, agent(3))
    with Replayer(file) as replayer:
        assert play(replayer, agent(3)).output == ["0", "1", "2"]
        assert play(replayer, agent(2)).output == ["0", "1", "max_calls_per_tool"]
        stopped = play(replayer, agent_run("bot", budget=Budget(max_tool_calls=1))(lambda: (search("0"), search("1"))))
    assert isinstance(stopped.error, AgentStop)
    assert stopped.stop_reason == "max_tool_calls"


def test_a_tool_that_asks_a_model_is_called_and_the_model_answered(live: Live, file: Path) -> None:
    @tool_call("research")
    def research(topic: str) -> str:
        return f"{topic}: {chat(live.openai, topic)} {look(topic)}"

    @tool_call("look")
    def look(topic: str) -> str:
        live.tools.append(topic)
        return topic.upper()

    with Recorder(file) as recorder:
        first = play(recorder, agent_run("bot")(lambda: research("pens")))
    assert recorder.notes == ("tool research asks for models or tools itself: a replay calls it, and answers those",)
    before = live.counts
    with Replayer(file) as replayer:
        assert play(replayer, agent_run("bot")(lambda: research("pens"))) == first
    assert live.counts == before
    assert first.steps == 1
    assert first.tool_calls == 2


def test_threads_of_a_trial_belong_to_it(live: Live, file: Path) -> None:
    @tool_call("kb.search")
    def search(query: str) -> str:
        live.tools.append(query)
        return query

    def agent() -> list[str]:
        found: list[str] = []
        thread = threading.Thread(target=lambda: found.append(search("a")))
        thread.start()
        thread.join()
        return found

    first, second = both(live, file, agent_run("bot")(agent))
    assert first.output == second.output == ["a"]


# what cannot be replayed


class Document:
    """A result that JSON cannot hold."""


@pytest.mark.parametrize("result", [Document(), (1, 2), {1: 2}, float("nan"), b"x"], ids=repr)
def test_a_result_that_json_does_not_hold_is_told(live: Live, file: Path, result: Any) -> None:
    @tool_call("find")
    def find() -> Any:
        return result

    with Recorder(file) as recorder:
        assert play(recorder, agent_run("bot")(find)).output is result
    kind = type(result).__name__
    why = f"kb_lookup cannot be replayed: tool find gives a {kind}, which JSON does not give back as it was"
    assert recorder.notes == (why,)
    with Replayer(file) as replayer:
        assert replayer.tape(TASK, 1).problem == (f"kb_lookup cannot be replayed from {file}: {why.partition(': ')[2]}")


def test_a_block_cannot_be_replayed(live: Live, file: Path) -> None:
    @agent_run("bot")
    def agent() -> None:
        with tool_call("find", arguments={}):
            live.tools.append("inside")

    with Recorder(file) as recorder:
        play(recorder, agent)
    assert "tool find is a `with` block" in recorder.notes[0]
    assert len(live.tools) == 1
    with Replayer(file) as replayer:
        played = play(replayer, agent)
    assert isinstance(played.error, NotRecorded)
    assert len(live.tools) == 1


def test_a_tool_that_gives_one_by_one_cannot_be_replayed(live: Live, file: Path) -> None:
    @tool_call("pages")
    def pages() -> Iterator[int]:
        live.tools.append(1)
        yield 1

    with Recorder(file) as recorder:
        assert play(recorder, agent_run("bot")(lambda: list(pages()))).output == [1]
    assert "tool pages gives its results one by one" in recorder.notes[0]
    with Replayer(file) as replayer:
        assert isinstance(play(replayer, agent_run("bot")(lambda: list(pages()))).error, NotRecorded)
    assert len(live.tools) == 1


def test_a_model_that_is_not_asked_through_httpx_is_told(live: Live, file: Path) -> None:
    def agent(more: bool = True) -> None:
        chat(live.openai, "a")
        if more:
            with llm_call("other") as call:
                call.record(input_tokens=1, output_tokens=1)

    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(agent))
    assert recorder.notes == ("kb_lookup cannot be replayed: of its LLM calls 1 made no request through httpx",)
    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(agent), False)
    assert recorder.notes == ()
    with Replayer(file) as replayer:
        problem = play(replayer, agent_run("bot")(agent)).problem
    assert problem == f"of its LLM calls 1 made no request through httpx, to be answered from {file}, task kb_lookup"


# what was not recorded


def test_a_changed_request_fails_the_trial_and_goes_nowhere(live: Live, file: Path) -> None:
    client = live.openai
    agent = agent_run("bot")(lambda *texts: [chat(client, text) for text in texts])
    with Recorder(file) as recorder:
        play(recorder, agent, "a", "b")
    before = live.counts
    with Replayer(file) as replayer:
        played = play(replayer, agent, "a", "changed")
    changed = "the prompt or the input changed since it was recorded"
    assert played.problem == f"request 2, to model gpt-5-mini, is not in {file}, task kb_lookup: {changed}"
    assert str(played.error) == played.problem
    assert live.counts == before


def test_an_agent_that_goes_on_with_errors_does_not_go_on_with_this(live: Live, file: Path) -> None:
    @tool_call("kb.search")
    def search(query: str) -> str:
        live.tools.append(query)
        return query

    def agent(query: str) -> str:
        try:
            return search(query)
        except Exception:
            return "never mind"

    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(agent), "a")
    with Replayer(file) as replayer:
        played = play(replayer, agent_run("bot")(agent), "b")
    assert played.output is None
    assert played.problem is not None
    assert played.problem.startswith("request 1, to tool kb.search, is not in ")
    assert live.tools == ["a"]


def test_a_request_that_was_made_less_often_is_told_as_such(live: Live, file: Path) -> None:
    client = live.openai
    agent = agent_run("bot")(lambda often: [chat(client, "same") for _ in range(often)])
    with Recorder(file) as recorder:
        play(recorder, agent, 1)
    with Replayer(file) as replayer:
        problem = play(replayer, agent, 2).problem
    assert problem is not None
    assert problem.startswith("request 2, to model gpt-5-mini, was made less often when")


def test_an_unknown_task_or_input_is_a_problem_before_the_agent_is_called(live: Live, file: Path) -> None:
    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(lambda: chat(live.openai, "a")))
    with Replayer(file) as replayer:
        other = replayer.tape(replace(TASK, id="refund"), 1).problem
        changed = replayer.tape(replace(TASK, input="Another?"), 1).problem
        bound = play(
            replayer, agent_run("bot")(lambda: chat(live.openai, "a")), task=replace(TASK, max_steps=3)
        ).problem
    assert other == f"{file} has no trial of refund: record it"
    assert changed == f"kb_lookup asks something else than when {file} was recorded: record it again"
    assert bound is None


# trials and files


def test_each_trial_has_its_own_answers_and_a_further_one_the_first_ones(live: Live, file: Path) -> None:
    client = live.openai
    agent = agent_run("bot")(lambda: chat(client, "a"))
    other = replace(TASK, id="refund")
    with Recorder(file) as recorder:
        for repeat in (1, 2):
            play(recorder, agent, repeat=repeat)
        play(recorder, agent, task=other)
    with Replayer(file) as replayer:
        outputs = [play(replayer, agent, repeat=repeat).output for repeat in (2, 1, 3, 1)]
        assert play(replayer, agent, task=other).output == "answer 2 to you"
    assert outputs == ["answer 1 to you", "answer 0 to you", "answer 0 to you", "answer 0 to you"]


def test_recording_one_task_again_keeps_the_others(live: Live, file: Path) -> None:
    client = live.openai
    agent = agent_run("bot")(lambda: chat(client, "a"))
    with Recorder(file) as recorder:
        play(recorder, agent)
        play(recorder, agent, repeat=2)
        play(recorder, agent, task=replace(TASK, id="refund"))
    with Recorder(file) as recorder:
        play(recorder, agent)
    trials = {(trial.task, trial.repeat): trial.exchanges[0].answer.value for trial in read_recording(file)}
    assert {key: json.loads(value)["id"][-1] for key, value in trials.items()} == {
        ("kb_lookup", 1): "4",
        ("refund", 1): "3",
    }


def test_a_recording_that_ends_by_an_error_leaves_the_file_as_it_was(live: Live, file: Path) -> None:
    recorder = Recorder(file)
    with suppress(KeyboardInterrupt), recorder:
        play(recorder, agent_run("bot")(lambda: chat(live.openai, "a")))
        raise KeyboardInterrupt
    assert not file.exists()


def test_a_trial_that_nobody_waits_for_does_not_go_out_later(live: Live, file: Path) -> None:
    @tool_call("kb.search")
    def search(query: str) -> str:
        live.tools.append(query)
        return query

    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(search), "a")
    with Replayer(file) as replayer:
        tape = replayer.tape(TASK, 1)
    before = ctx.activate(in_context(tape, Context()))
    try:
        assert search("a") == "a"
        with pytest.raises(NotRecorded):
            search("b")
    finally:
        ctx.activate(before)
    assert live.tools == ["a"]
    tape.end(0)
    with replayer:
        pass
    assert playing.stand_in is None


def test_concurrent_trials_are_apart(live: Live, file: Path) -> None:
    async def once(player: Player, repeat: int, text: str) -> Any:
        tape = player.tape(TASK, repeat)
        ctx.activate(in_context(tape, Context()))
        async with live.async_openai() as client, agent_run("bot"), llm_call(MODEL) as call:
            reply = await client.responses.create(model=MODEL, input=text)
            call.record(reply)
        tape.end(1)
        return reply.output_text, tape.problem

    async def all_of(player: Player) -> list[Any]:
        return await asyncio.gather(*(once(player, repeat, f"text {repeat}") for repeat in range(1, 6)))

    with Recorder(file) as recorder:
        first = asyncio.run(all_of(recorder))
    with Replayer(file) as replayer:
        assert asyncio.run(all_of(replayer)) == first
    assert live.server.ledger.requests == 5


# secrets


def test_no_secret_and_no_request_is_in_the_file(file: Path) -> None:
    def script(request: Any) -> Reply:
        return Reply(text=f"Your key is {KEY} of course.")

    @tool_call("vault.read")
    def read(name: str, token: str) -> dict[str, str]:
        return {"api_key": "hunter2", "name": name, "note": f"use {KEY}"}

    @tool_call("vault.open")
    def lock() -> None:
        raise PermissionError(f"{KEY} is not welcome")

    with serving(script) as live:

        def agent() -> list[Any]:
            found = [chat(live.openai, "PRIVATE QUESTION"), read("PRIVATE NAME", KEY)]
            chunks = llm_call(MODEL)(live.openai.chat.completions.create)(
                model=MODEL, messages=[{"role": "user", "content": found[0]}], stream=True
            )
            found.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
            try:
                lock()
            except PermissionError as exc:
                found.append(str(exc))
            return found

        first, second = both(live, file, agent_run("bot")(agent))
    text = file.read_text()
    assert KEY not in text
    assert "PRIVATE QUESTION" not in text
    assert "hunter2" not in text
    assert KEY in first.output[0]
    assert second.error is None  # what a redacted answer leads to is asked under the same key
    assert second.output == [
        "Your key is [redacted] of course.",
        {"api_key": "[redacted]", "name": "PRIVATE NAME", "note": "use [redacted]"},
        "Your key is [redacted] of course.",
        "[redacted] is not welcome",
    ]
    assert file.stat().st_mode & 0o077 == 0


def test_a_redaction_is_told(live: Live, file: Path) -> None:
    @tool_call("vault.read")
    def read() -> str:
        return KEY

    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(lambda: [read(), chat(live.openai, "a")]))
    assert recorder.notes == (
        "kb_lookup, trial 1, request 1: what looks like a secret was taken out of the answer of tool vault.read",
    )


# damaged files


@pytest.fixture
def recorded(live: Live, file: Path) -> Path:
    with Recorder(file) as recorder:
        play(recorder, agent_run("bot")(lambda: [chat(live.openai, "a"), chat(live.openai, "b")]))
    return file


@pytest.mark.parametrize(
    ("line", "text", "says"),
    [
        (1, "", "{file}:1 = '0 characters': must be a JSON object"),
        (1, "{}", "{file}:1: otel_agent_recording = 'nothing': must be 1, the first line of a recording"),
        (2, '{"task": 3}', "{file}:2: task = 'int': must be a text"),
        (2, '{"task": "t", "exchanges": -1}', "{file}:2: exchanges = 'int': must be a count"),
        (3, '{"position": 1, "kind"', "{file}:3 = '22 characters': must be a JSON object"),
        (
            3,
            '{"answer": {"outcome": "sings"}}',
            "{file}:3: outcome = 'str': must be one of gives, raises, through, missing",
        ),
        (
            3,
            '{"answer": {"outcome": "gives", "x": 1}}',
            "{file}:3: x = 'int': must be left out: it is no part of an answer",
        ),
        (3, '{"kind": "cat", "answer": {"outcome": "gives"}}', "{file}:3: kind = 'str': must be one of model, tool"),
        (3, '{"kind": "model", "answer": {"outcome": "gives"}}', "{file}:3: value = 'nothing': must be a text"),
        (
            3,
            '{"kind": "tool", "answer": {"outcome": "gives", "awaited": 1}}',
            "{file}:3: awaited = 'int': must be true or false",
        ),
        (4, None, "{file}:4 = 'the end': must be the other 1 of the 2 exchanges of kb_lookup: the file is cut off"),
    ],
)
def test_a_damaged_file_is_told_with_its_line(recorded: Path, line: int, text: str | None, says: str) -> None:
    lines = recorded.read_text().splitlines()
    lines[line - 1 :] = [] if text is None else [text, *lines[line:]]
    recorded.write_text("\n".join(lines) + "\n")
    before = recorded.read_bytes()
    for player in (Replayer, Recorder):
        with pytest.raises(InvalidSetting) as told:
            player(recorded)
        assert str(told.value) == says.replace("{file}", str(recorded))
    assert recorded.read_bytes() == before


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_file_that_was_cut_off_anywhere_is_told(recorded: Path, cut: int) -> None:
    recorded.write_bytes(recorded.read_bytes()[:-cut])
    if cut == 1:  # the last line end alone says nothing
        read_recording(recorded)
        return
    with pytest.raises(InvalidSetting, match=rf"{recorded}:\d"):
        Replayer(recorded)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="no such file"):
        Replayer(tmp_path / "none.jsonl")
    with pytest.raises(InvalidSetting, match="no such folder"):
        Recorder(tmp_path / "none" / "new.jsonl")
