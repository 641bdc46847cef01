"""`configure()` and the ways out, each in a process of its own, since providers are set once."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from otel_agent import InvalidSetting, Logger, Price, Prompt, agent_run, build_system_prompt, configure, flush, shutdown
from otel_agent.budget import Budget
from otel_agent.testing import capture
from tests.support.otlp import OtlpReceiver, attributes
from tests.support.processes import ended, send, start


def run(source: str, **environment: str) -> tuple[str, str]:
    """Runs a program that must go well and gives its stdout and stderr."""
    status, out, err = ended(start(source, **environment))
    assert status == 0, err
    return out, err


ONE_RUN = """
@tool_call("kb.search")
def search(): pass
@agent_run("bot", budget=Budget(max_tool_calls=3))
def bot():
    with llm_call("gpt-5-mini", provider="openai") as call:
        call.record(input_tokens=100, output_tokens=20)
    search()
bot()
"""


def test_without_a_backend_a_run_ends_with_a_tree_on_stderr() -> None:
    out, err = run("configure()\n" + ONE_RUN)
    assert out == ""
    lines = err.splitlines()
    assert lines[0].startswith("bot · ")
    assert lines[0].endswith("· 1 step · 1 tool call · 120 tokens · $0.000065 · finish")
    assert "llm   gpt-5-mini" in lines[1]
    assert "tool  kb.search" in lines[2]
    assert lines[3].startswith("tool_calls ███")


@pytest.mark.parametrize(
    ("call", "environment"),
    [("configure(console=False)", {}), ("configure()", {"OTEL_AGENT_CONSOLE": "false"}), ("pass", {})],
)
def test_one_setting_makes_it_silent_and_so_does_no_configure(call: str, environment: dict[str, str]) -> None:
    assert run(call + ONE_RUN, **environment) == ("", "")


def test_with_a_backend_the_terminal_is_silent_unless_asked() -> None:
    with OtlpReceiver() as receiver:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        assert run("configure()\n" + ONE_RUN, **environment) == ("", "")
        assert "bot · " in run("configure(console=True)\n" + ONE_RUN, **environment)[1]
        names = [span.name for span in receiver.spans]
    assert sorted(names) == sorted(2 * ["invoke_agent bot", "chat gpt-5-mini", "execute_tool kb.search"])


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_spans_metrics_and_events_of_a_run_reach_the_backend(protocol: Any) -> None:
    with OtlpReceiver(protocol) as receiver:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc" if protocol == "grpc" else "http/protobuf",
            "OTEL_SERVICE_NAME": "support",
        }
        assert run("configure()\n" + ONE_RUN, **environment) == ("", "")
        spans = {span.name: attributes(span.attributes) for span in receiver.spans}
        assert spans["invoke_agent bot"]["otel_agent.stop_reason"] == "finish"
        assert {"otel_agent.runs", "otel_agent.run.tokens"} <= {metric.name for metric in receiver.metrics}
        assert {"otel_agent.run.started", "otel_agent.run.finished"} <= {log.event_name for log in receiver.logs}


def test_called_twice_it_changes_nothing() -> None:
    _, err = run("configure(mode='observe')\nconfigure(mode='enforce', console=False)\n" + ONE_RUN)
    assert err.count("bot · ") == 1
    assert "observe" in err
    assert err.count("configure() was called before: this call's console, mode changes nothing") == 1


def test_called_twice_for_the_same_it_says_nothing() -> None:
    same = "configure('support', console=False, headers={'x-team': 'a'}, prompts=[Prompt('support', 'v1', 'Hi.')])\n"
    assert run(f"from otel_agent import Prompt\n{same}{same}configure()\nconfigure('support')") == ("", "")
    _, err = run(
        f"from otel_agent import Prompt\n{same}configure('sales', headers={{'x-key': 'secret'}})\nconfigure('b')"
    )
    assert err == "configure() was called before: this call's service_name, headers changes nothing\n"


def test_prices_are_ones_own_or_the_fallback() -> None:
    out, _ = run(
        """
        from otel_agent import Price
        by_call = Price(per_call="0.5", input=0, output=0)
        configure(console=False, prices={"mine": Price(input=1, output=2)}, fallback_price=by_call)
        with agent_run("bot") as run:
            for model in ("mine", "unheard-of"):
                with llm_call(model) as call:
                    call.record(input_tokens=1_000_000, output_tokens=1_000_000)
        print(run.result.usage.cost_usd)
        """
    )
    assert out == "3.5\n"


def test_an_sdk_that_is_disabled_leaves_budgets_as_they_are() -> None:
    out, err = run(
        """
        configure(console=False)
        @agent_run(budget=Budget(max_tool_calls=2))
        def bot():
            while True:
                with tool_call("t"): pass
        result = bot.run()
        print(result.stop_reason, result.usage.tool_calls, result.trace_id)
        """,
        OTEL_SDK_DISABLED="true",
    )
    assert (out, err) == ("max_tool_calls 2 None\n", "")


def test_flush_and_shutdown_deliver_and_say_whether_they_could() -> None:
    with OtlpReceiver() as receiver:
        out, _ = run(
            """
            from otel_agent import flush, shutdown
            configure(endpoint=os.environ["TO"])
            with agent_run("bot"): pass
            print(flush(5))
            shutdown(5)
            shutdown(5)
            """,
            TO=receiver.endpoint,
        )
        assert out == "True\n"
        assert [span.name for span in receiver.spans] == ["invoke_agent bot"]
    out, _ = run(
        """
        from otel_agent import flush
        configure(endpoint="http://127.0.0.1:9")
        with agent_run("bot"): pass
        print(flush(1))
        """
    )
    assert out == "False\n"


def test_a_long_run_shows_that_it_lives() -> None:
    process = start(
        """
        from otel_agent.views import TerminalView
        from otel_agent.telemetry.listeners import add_listener
        add_listener(TerminalView(plain_progress_every=0.1))
        with agent_run("slow"):
            time.sleep(0.5)
            ready()
            time.sleep(60)
        """
    )
    send(process, signal.SIGTERM)
    assert "still open" in ended(process)[2]


@pytest.mark.parametrize(
    ("keywords", "field"),
    [
        ({"service_name": ""}, "service_name"),
        ({"endpoint": "not a url"}, "endpoint"),
        ({"protocol": "carrier pigeon"}, "protocol"),
        ({"headers": {"a": 1}}, "headers"),
        ({"console": "yes"}, "console"),
        ({"threads": 1}, "threads"),
        ({"mode": "strict"}, "mode"),
        ({"prices": {"m": 3}}, "m"),
        ({"fallback_price": 3}, "fallback"),
        ({"config": "otel-agent.yaml"}, "config"),
        ({"history": 3}, "history"),
        ({"endpont": "http://localhost:4318"}, "endpoint"),
    ],
)
def test_a_wrong_argument_is_refused_and_nothing_is_set_up(keywords: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSetting, match=field):
        configure(**keywords)


@pytest.mark.parametrize("end", [flush, shutdown])
def test_a_timeout_must_be_a_time(end: Any) -> None:
    with pytest.raises(InvalidSetting, match="timeout"):
        end(-1)


def test_a_logger_emits_events_with_the_runs_ids() -> None:
    prompt = Prompt("support", "v13", "Answer using KB.")
    assert build_system_prompt(prompt)
    limits = Budget(max_steps=2, max_usd="0.50", max_calls_per_tool={"kb.search": 6})
    with capture() as kept:
        Logger().event("outside")
        with agent_run("bot", prompt=prompt) as run:
            Logger().event("agent_start", {"prompt_id": prompt.id, "budget": limits, "tags": ["a", 1], "what": Price})
    events = {event.log_record.event_name: event.log_record for event in kept.events}
    assert dict(events["outside"].attributes or {}) == {}
    found = dict(events["agent_start"].attributes or {})
    assert found["otel_agent.run.id"] == run.id
    assert found["prompt_id"] == found["otel_agent.prompt.id"] == prompt.id
    assert dict(found["budget"])["max_usd"] == "0.50"  # type: ignore[arg-type]
    assert events["agent_start"].trace_id == int(run.result.trace_id or "0", 16)


@pytest.mark.parametrize(("name", "fields"), [("", {}), (3, {}), ("event", [1])])
def test_a_logger_refuses_what_is_no_event(name: Any, fields: Any) -> None:
    with pytest.raises(InvalidSetting, match=r"Logger\.event"):
        Logger().event(name, fields)
