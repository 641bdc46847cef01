"""Which traces the sampler keeps: every stop, error, slow and expensive run, and of the rest a share."""

from __future__ import annotations

from pathlib import Path

from otel_agent import semconv
from tests.deploy.servers import Collector, needs, until
from tests.support.otlp import OtlpReceiver, attributes
from tests.support.processes import ended, start

QUICK = {
    "OTEL_AGENT_DECISION_WAIT": "20s",
    "OTEL_AGENT_DECISION_WAIT_AFTER_ROOT": "1s",
    "OTEL_AGENT_SLOW_MS": "1500",
    "OTEL_AGENT_EXPENSIVE_USD": "0.25",
    "OTEL_AGENT_SAMPLING_PERCENT": "0",
}
AGENTS = """
from otel_agent import Price
configure("sampled", prices={"priced": Price(input=1000, output=1000)})
def play(agent, tokens=10, seconds=0.0, **limits):
    with agent_run(agent, budget=Budget(**limits)):
        for _ in range(2):
            with llm_call("priced", provider="openai") as call:
                call.record(input_tokens=tokens, output_tokens=0)
        time.sleep(seconds)
for _ in range(20):
    play("plain")
play("slow", seconds=1.7)
play("expensive", tokens=260)
try:
    play("stopped", max_steps=1)
except Exception as stop:
    print(stop.reason)
try:
    with agent_run("failed"):
        raise ValueError
except ValueError:
    pass
with agent_run("asks") as run:
    run.stop("needs_human")
"""


LONG = """
configure("sampled")
try:
    with agent_run("long", budget=Budget(max_steps=1)):
        with llm_call("unpriced", provider="openai") as call:
            call.record(input_tokens=10, output_tokens=0)
        time.sleep(8)
        with llm_call("unpriced", provider="openai"):
            pass
except Exception as stop:
    print(stop.reason)
"""


def agents_in(backend: OtlpReceiver) -> list[str]:
    names = [span.name for each in list(backend.received) if each.signal == "traces" for span in each.items]
    return sorted(name.removeprefix("invoke_agent ") for name in names if name.startswith("invoke_agent"))


def played(folder: Path, percent: str) -> list[str]:
    """Plays the agents and gives those whose traces were kept, once every decision is made."""
    needs("collector")
    with OtlpReceiver("grpc") as backend:
        address = {"OTEL_AGENT_TRACES_ENDPOINT": backend.endpoint.rpartition("/")[2]}
        with Collector(folder, **address, **QUICK | {"OTEL_AGENT_SAMPLING_PERCENT": percent}) as collector:
            status, out, err = ended(start(AGENTS, OTEL_EXPORTER_OTLP_ENDPOINT=collector.http), 60)
            assert (status, out, err) == (0, "max_steps\n", "")
            until(lambda: collector.own("otelcol_processor_tail_sampling_global_count_traces_sampled_total") >= 25)
        # The collector has ended, and with it all that waited was delivered.
        return agents_in(backend)


def test_what_matters_is_kept_and_the_rest_is_not(tmp_path: Path) -> None:
    assert played(tmp_path, "0") == ["asks", "expensive", "failed", "slow", "stopped"]


def test_the_share_of_the_rest_is_kept_too(tmp_path: Path) -> None:
    assert played(tmp_path, "100").count("plain") == 20


def test_a_run_longer_than_its_window_is_told_by_its_log_event(tmp_path: Path) -> None:
    needs("collector")
    with OtlpReceiver("grpc") as backend:
        address = backend.endpoint.rpartition("/")[2]
        places = {"OTEL_AGENT_TRACES_ENDPOINT": address, "OTEL_AGENT_LOGS_ENDPOINT": address}
        short = QUICK | {"OTEL_AGENT_DECISION_WAIT": "2s", "OTEL_AGENT_LOGS": "otlp_grpc/logs"}
        with Collector(tmp_path, **places, **short) as collector:
            quickly = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.http, "OTEL_BSP_SCHEDULE_DELAY": "200"}
            assert ended(start(LONG, **quickly), 60) == (0, "max_steps\n", "")
            until(lambda: collector.own("otelcol_receiver_accepted_spans_total") == 3)
        events = [record for each in backend.received if each.signal == "logs" for record in each.items]
    (finished,) = [record for record in events if record.event_name == semconv.RUN_FINISHED]
    assert attributes(finished.attributes)[semconv.STOP_REASON] == "max_steps"
    assert agents_in(backend) == []
