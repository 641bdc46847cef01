"""The dashboard of telemetry itself: whether what the other dashboards show is all there is.

It reads the collector's own metrics, and how old the agents' are.
"""

from __future__ import annotations

from otel_agent import semconv
from otel_agent.deploy import series
from otel_agent.deploy.dashboards.labels import AGENT
from otel_agent.deploy.dashboards.panels import Board, Panel, Query, Row, grown, named, rate

__all__ = ["TELEMETRY"]

_ACTIVE = series.gauge(semconv.RUNS_ACTIVE)


def _pair(title: str, about: str, *queries: tuple[str, str], unit: str = "short") -> Panel:
    drawn = tuple(Query(expression=expression, legend=legend) for expression, legend in queries)
    return Panel(title=title, about=about, queries=drawn, unit=unit)


_IN = Row(
    title="What arrives",
    panels=(
        _pair(
            "Collector",
            "1 while Prometheus can scrape it: each of its ports is a job of its own.",
            ("up", named("job", "instance")),
        ),
        _pair(
            "Age of an agent's metrics",
            "Seconds since each agent was last heard of, as long as Prometheus still knows it.",
            (f"time() - max by ({AGENT}) (timestamp({_ACTIVE}))", named(AGENT)),
            unit="s",
        ),
        _pair(
            "Received a second",
            "Spans and metric points that the collector took.",
            (rate("otelcol_receiver_accepted_spans_total", "transport"), f"spans {named('transport')}"),
            (rate("otelcol_receiver_accepted_metric_points_total", "transport"), f"points {named('transport')}"),
        ),
        _pair(
            "Refused",
            "In the chosen window. The memory limiter refuses; SDKs try again, then drop.",
            (grown("otelcol_receiver_refused_spans_total", "transport"), f"spans {named('transport')}"),
            (grown("otelcol_receiver_refused_metric_points_total", "transport"), f"points {named('transport')}"),
        ),
    ),
)

_OUT = Row(
    title="What leaves",
    panels=(
        _pair(
            "Sent a second",
            "Spans behind the sampler, and metric points where they are written rather than scraped.",
            (rate("otelcol_exporter_sent_spans_total", "exporter"), f"spans {named('exporter')}"),
            (rate("otelcol_exporter_sent_metric_points_total", "exporter"), f"points {named('exporter')}"),
        ),
        _pair(
            "Queue",
            "What waits on disk for the backend, as a share of what fits.",
            ("otelcol_exporter_queue_size / otelcol_exporter_queue_capacity", named("exporter")),
            unit="percentunit",
        ),
        _pair(
            "Traces that the sampler decided",
            "In the chosen window; none where the sampler is taken out.",
            (
                grown("otelcol_processor_tail_sampling_global_count_traces_sampled_total", "sampled"),
                f"sampled: {named('sampled')}",
            ),
        ),
        _pair(
            "Memory of the collector",
            "Resident.",
            ("otelcol_process_memory_rss_bytes", named("instance")),
            unit="bytes",
        ),
    ),
)

TELEMETRY = Board(
    uid="otel-agent-telemetry",
    title="Agents: telemetry health",
    about="Whether telemetry arrives, waits or is lost on its way.",
    rows=(_IN, _OUT),
)
