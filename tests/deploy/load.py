"""100,000 spans through the collector as it ships: how many are lost, how fast it goes, how much memory it takes.

python -m tests.deploy.load [SPANS] [--sampler]

The sender is this process, over HTTP, one request after the other; so is the backend, which keeps the id of each
span. Prints one line; the exit code is 1 where a span was lost (without the sampler none may be).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.deploy.otlp import SPANS_OF_A_RUN, post, runs
from tests.deploy.servers import Collector, until
from tests.support.otlp import OtlpReceiver

MINUTES = 10


def ids(backend: OtlpReceiver) -> set[bytes]:
    """The ids of all spans that the backend has."""
    return {span.trace_id + span.span_id for each in list(backend.received) for span in each.items}


def cpu_seconds(collector: Collector) -> float:
    """The processor time that the collector has used, in seconds."""
    assert collector.process is not None
    fields = Path(f"/proc/{collector.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, spans: int, variables: dict[str, str]) -> int:
    """Sends so many spans, waits until all have arrived, prints what was seen, and gives how many are missing."""
    requests = list(runs(spans // SPANS_OF_A_RUN, "load"))
    with OtlpReceiver("grpc") as backend:
        address = {"OTEL_AGENT_TRACES_ENDPOINT": backend.endpoint.rpartition("/")[2]}
        with Collector(folder, **address, **variables) as collector:
            peak = collector.resident_mib()
            before, began = cpu_seconds(collector), time.monotonic()
            for request in requests:
                post(collector, "traces", request)
                peak = max(peak, collector.resident_mib())
            taken = time.monotonic() - began
            until(lambda: collector.own("otelcol_exporter_sent_spans_total") >= spans, MINUTES * 60)
            done, used = time.monotonic() - began, cpu_seconds(collector) - before
            missing = spans - len(ids(backend))
    print(
        f"{spans:,} spans sent, {missing:,} missing; taken at {spans / taken:,.0f}/s, delivered after {done:.1f} s; "
        f"{used / spans * 1e6:.0f} us of processor time a span; at most {peak:.0f} MiB"
    )
    return missing


def _spans(text: str) -> int:
    number = int(text)
    if number < 100 or number % 100:  # others would be waited for and never come
        raise argparse.ArgumentTypeError(f"{number} must be a multiple of 100, 100 or more")
    return number


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spans", nargs="?", type=_spans, default=100_000, help="how many, a multiple of 100")
    parser.add_argument("--sampler", action="store_true", help="with the sampler, keeping all")
    asked = parser.parse_args()
    sampler = {"OTEL_AGENT_SAMPLING_PERCENT": "100", "OTEL_AGENT_DECISION_WAIT_AFTER_ROOT": "1s"}
    with tempfile.TemporaryDirectory() as folder:
        return int(measure(Path(folder), asked.spans, sampler if asked.sampler else {"OTEL_AGENT_SAMPLER": "[]"}) > 0)


if __name__ == "__main__":
    sys.exit(main())
