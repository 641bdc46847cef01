"""The names that our metrics bear in Prometheus, and those of the collector's own metrics that rules and panels read.

Decides nothing: OpenTelemetry's translation turns dots into underscores, adds the unit where it is no annotation in
braces, and ends a counter in `_total`. Rules and dashboards are built from these functions, so that `semconv` stays the
only place that spells a name.
"""

from __future__ import annotations

import re
from typing import Final

from otel_agent.semconv import Metric

__all__ = ["COLLECTOR", "SPAN_SECONDS", "bucket", "count", "counter", "gauge", "label", "total"]

_UNITS = {"s": "_seconds"}

SPAN_SECONDS: Final = "traces_span_metrics_duration_seconds_bucket"
"""The buckets that the collector makes of spans, before any sampling; each has a trace as its exemplar."""

COLLECTOR: Final = frozenset(
    {
        "otelcol_deltatocumulative_datapoints_total",
        "otelcol_exporter_queue_capacity",
        "otelcol_exporter_queue_size",
        "otelcol_exporter_send_failed_log_records_total",
        "otelcol_exporter_send_failed_metric_points_total",
        "otelcol_exporter_send_failed_spans_total",
        "otelcol_exporter_sent_metric_points_total",
        "otelcol_exporter_sent_spans_total",
        "otelcol_exporter_enqueue_failed_log_records_total",
        "otelcol_exporter_enqueue_failed_metric_points_total",
        "otelcol_exporter_enqueue_failed_spans_total",
        "otelcol_process_memory_rss_bytes",
        "otelcol_processor_tail_sampling_global_count_traces_sampled_total",
        "otelcol_process_uptime_seconds_total",
        "otelcol_receiver_accepted_metric_points_total",
        "otelcol_receiver_accepted_spans_total",
        "otelcol_receiver_refused_log_records_total",
        "otelcol_receiver_refused_metric_points_total",
        "otelcol_receiver_refused_spans_total",
    }
)


def counter(metric: Metric) -> str:
    """Gives the series of a counter."""
    return f"{_base(metric)}_total"


def gauge(metric: Metric) -> str:
    """Gives the series of a gauge, or of a counter that also goes down."""
    return _base(metric)


def bucket(metric: Metric) -> str:
    """Gives the buckets of a histogram. Their `le` is written differently by each version: match none exactly."""
    return f"{_base(metric)}_bucket"


def total(metric: Metric) -> str:
    """Gives the sum of all that a histogram was given."""
    return f"{_base(metric)}_sum"


def count(metric: Metric) -> str:
    """Gives how often a histogram was given something."""
    return f"{_base(metric)}_count"


def label(attribute: str) -> str:
    """Gives the label of an attribute."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", attribute)


def _base(metric: Metric) -> str:
    return label(metric.name) + _UNITS.get(metric.unit, "")
