"""Prompt id and run id on the application's own log records, and nobody's logging broken by it."""

from __future__ import annotations

import io
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from otel_agent import Prompt, agent_run
from otel_agent.run.records import RunFormatter, mark_records, stop_marking

PROMPT = Prompt("support", "v13", "Answer using KB.")
RUN, PROMPT_ID = "otel_agent.run.id", "otel_agent.prompt.id"
log = logging.getLogger("application")


@pytest.fixture(autouse=True)
def marking() -> Iterator[None]:
    mark_records()
    yield
    stop_marking()


def fields(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, Any]]:
    return [(vars(each).get(RUN), vars(each).get(PROMPT_ID)) for each in caplog.records if each.name == "application"]


def test_records_inside_a_run_bear_its_ids_and_others_none(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("before")
    with agent_run("bot", prompt=PROMPT) as run:
        log.warning("inside")
        with agent_run("child") as child:
            log.warning("in the child")
    log.warning("after")
    assert fields(caplog) == [(None, None), (run.id, PROMPT.id), (child.id, child.prompt_id), (None, None)]


def test_from_shutdown_on_there_is_none(caplog: pytest.LogCaptureFixture) -> None:
    with agent_run("bot", prompt=PROMPT):
        stop_marking()
        log.warning("late")
    assert fields(caplog) == [(None, None)]


def test_the_real_handler_exports_them_under_their_names() -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    handler = real_handler(provider)
    log.addHandler(handler)
    try:
        with agent_run("bot", prompt=PROMPT) as run:
            log.warning("inside", extra={"order": 5})
    finally:
        log.removeHandler(handler)
        provider.shutdown()
    (found,) = exporter.get_finished_logs()
    attributes = dict(found.log_record.attributes or {})
    assert (attributes[RUN], attributes[PROMPT_ID], attributes["order"]) == (run.id, PROMPT.id, 5)


STYLES = [
    ("%", "%(run_id)s %(prompt_id)s %(message)s"),
    ("%", "%(otel_agent.run.id)s %(otel_agent.prompt.id)s %(message)s"),
    ("{", "{run_id} {prompt_id} {message}"),
    ("$", "$run_id ${prompt_id} $message"),
]


@pytest.mark.parametrize(("style", "text"), STYLES)
def test_a_formatter_shows_the_ids_in_each_style_and_a_dash_outside_a_run(style: Any, text: str) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(RunFormatter(text, style=style))
    log.addHandler(handler)
    try:
        log.warning("before")
        with agent_run("bot", prompt=PROMPT) as run:
            log.warning("inside")
        with agent_run("bot") as bare:
            log.warning("no prompt")
    finally:
        log.removeHandler(handler)
    assert stream.getvalue().splitlines() == [
        "- - before",
        f"{run.id} {PROMPT.id} inside",
        f"{bare.id} - no prompt",
    ]


@pytest.mark.parametrize(("style", "text"), [("%", "%(run_id)s"), ("{", "{run_id}"), ("$", "$run_id")])
def test_an_id_may_be_the_only_field(style: Any, text: str) -> None:
    record = logging.makeLogRecord({"msg": "outside"})
    assert RunFormatter(text, style=style).format(record) == "-"


def test_a_formatter_leaves_a_record_as_it_is_so_that_nothing_more_is_exported() -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    text = logging.StreamHandler(io.StringIO())
    text.setFormatter(RunFormatter("%(run_id)s %(message)s"))
    handlers = [text, real_handler(provider)]
    for handler in handlers:
        log.addHandler(handler)
    try:
        log.warning("outside")
        with agent_run("bot", prompt=PROMPT):
            log.warning("inside")
    finally:
        for handler in handlers:
            log.removeHandler(handler)
        provider.shutdown()
    outside, inside = (dict(each.log_record.attributes or {}) for each in exporter.get_finished_logs())
    assert {key for key in outside if not key.startswith("code.")} == set()
    assert {key for key in inside if not key.startswith("code.")} == {RUN, PROMPT_ID}


def test_a_formatter_can_be_named_in_a_dictionary_and_gives_way_to_the_application() -> None:
    made = logging.config.DictConfigurator({"version": 1}).configure_formatter(  # type: ignore[no-untyped-call]
        {"class": "otel_agent.run.records.RunFormatter", "format": "{run_id} {message}", "style": "{"}
    )
    assert made.format(logging.makeLogRecord({"msg": "hello", "run_id": "mine"})) == "mine hello"


def real_handler(provider: LoggerProvider) -> logging.Handler:
    """OpenTelemetry's own handler: in a package of its own from 1.40 on, in the SDK before."""
    try:
        from opentelemetry.instrumentation.logging.handler import LoggingHandler
    except ImportError:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from opentelemetry.sdk._logs import LoggingHandler

            return LoggingHandler(logger_provider=provider)
    return LoggingHandler(logger_provider=provider)


def test_an_applications_own_factory_makes_the_record_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    class Own(logging.LogRecord):
        pass

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = Own(*args, **kwargs)
        record.request = "r1"
        return record

    before = logging.getLogRecordFactory()
    logging.setLogRecordFactory(factory)
    try:
        with agent_run("bot") as run:
            log.warning("inside")
    finally:
        logging.setLogRecordFactory(before)
    (record,) = (each for each in caplog.records if each.name == "application")
    assert (type(record), vars(record)["request"], vars(record)[RUN]) == (Own, "r1", run.id)


def test_fields_of_the_application_win(caplog: pytest.LogCaptureFixture) -> None:
    with agent_run("bot", prompt=PROMPT):
        log.warning("inside", extra={RUN: "mine"})
    assert fields(caplog) == [("mine", PROMPT.id)]


def test_the_place_of_the_call_stays_that_of_the_application(caplog: pytest.LogCaptureFixture) -> None:
    with agent_run("bot"):
        log.warning("inside")
    (record,) = (each for each in caplog.records if each.name == "application")
    assert record.filename == "test_records.py"


def test_a_record_that_can_bear_nothing_is_logged_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Bare:
        __slots__ = ()

    class Odd(logging.Logger):
        handled: list[Any] = []

        def handle(self, record: Any) -> None:
            self.handled.append(record)

    plain = logging.getLogRecordFactory()
    monkeypatch.setattr(
        logging, "_logRecordFactory", lambda name, *rest: Bare() if name == "odd" else plain(name, *rest)
    )
    with agent_run("bot"):
        Odd("odd").warning("inside")
    assert [type(each) for each in Odd.handled] == [Bare]
