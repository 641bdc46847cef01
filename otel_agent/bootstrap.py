"""`configure()`: settings into rooms, once; and the ways out, `flush()` and `shutdown()`.

Decides nothing that a room can decide: it checks the arguments, sets providers, prices and the terminal, and registers
the end.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from otel_agent import checks, semconv
from otel_agent import config as settings
from otel_agent import context as ctx
from otel_agent.budget import Budget
from otel_agent.pricing import Price, PriceBook
from otel_agent.prompts import Gate, Prompt, Selector
from otel_agent.run import current_run, price_book, use_prices
from otel_agent.run.border import end_open_runs
from otel_agent.run.choice import use_prompts
from otel_agent.run.collector import finish_late
from otel_agent.run.defaults import use_budgets
from otel_agent.run.exits import deliver_too, watch_exit
from otel_agent.run.records import mark_records, stop_marking
from otel_agent.stop import InvalidSetting
from otel_agent.telemetry import events
from otel_agent.telemetry.environment import environment
from otel_agent.telemetry.guard import warn_once
from otel_agent.telemetry.listeners import add_listener, remove_listener
from otel_agent.telemetry.pipeline import current_pipeline

if TYPE_CHECKING:
    from otel_agent.config.values import Config
    from otel_agent.stores.recorder import Recorder
    from otel_agent.views.terminal import TerminalView

__all__ = ["Logger", "configure", "flush", "prepare", "shutdown"]

FLUSH_SECONDS = 10.0
SHUTDOWN_SECONDS = 2.0
MOST_DEPTH = 16


class _State:
    lock = threading.Lock()
    configured = False
    asked: Mapping[str, object] = {}
    view: TerminalView | None = None
    recorder: Recorder | None = None


@checks.known_keywords
def configure(
    service_name: str | None = None,
    *,
    endpoint: str | None = None,
    protocol: Literal["http/protobuf", "http/json", "grpc"] | None = None,
    headers: Mapping[str, str] | None = None,
    console: bool | None = None,
    threads: bool | None = None,
    mode: Literal["enforce", "observe"] | None = None,
    prices: Mapping[str, Price] | None = None,
    fallback_price: Price | None = None,
    prompts: Iterable[Prompt] | None = None,
    config: str | Path | Config | None = None,
    history: str | Path | bool | None = None,
) -> None:
    """Sets up this process; a second call changes nothing, and a warning says so where it asks for something else.

    Not needed where OpenTelemetry is set up already. Everything is optional, and an argument wins over
    the environment.

    Args:
        service_name: the service, over `OTEL_SERVICE_NAME`.
        endpoint: where OTLP goes, such as "http://localhost:4318", over `OTEL_EXPORTER_OTLP_ENDPOINT`. Without one and
            without any `OTEL_*_ENDPOINT` or `_EXPORTER`, nothing goes anywhere.
        protocol: "http/protobuf", the default, or "grpc".
        headers: headers of the export, beside those of the environment.
        console: print each run as a tree on stderr; None does so where no backend is configured.
        threads: carry runs into threads and pools; True by default.
        mode: "observe" counts and reports, and stops nothing.
        prices: your own prices, by "model" or "provider/model".
        fallback_price: the price of every model that has none.
        prompts: your prompts, which runs ask for by name; one namespace with those of folder and configuration.
        config: a file, or a `Config`; None takes the file that OTEL_AGENT_CONFIG names, else `otel-agent.yaml` in the
            working directory where there is one.
        history: a folder to keep finished runs and their spans in, for `otel-agent runs`; True takes one in the user's
            cache folder, False none. What cannot be written there is a warning.

    Raises:
        InvalidSetting: an argument, a variable of ours or a part of the file can never work, and of a file all that
            is wrong is told; nothing has changed then.
    """
    place = None if history is None else _place(history)
    _check_choices(console, threads, mode)
    price_book(prices, fallback_price)
    registered = _check_prompts(prompts)
    from otel_agent.config import current as configured  # its values take 5 ms to load
    from otel_agent.telemetry import providers  # 8 ms

    given = configured.checked("configure.config", config)
    asked = {
        "service_name": service_name,
        "endpoint": endpoint,
        "protocol": protocol,
        "headers": headers,
        "console": console,
        "threads": threads,
        "mode": mode,
        "prices": prices,
        "fallback_price": fallback_price,
        "prompts": registered or None,
        "config": given,
        "history": place,
    }
    with _State.lock:
        if _State.configured:
            _tell_what_is_left_aside(asked)
            return
        found = configured.current(given, field="configure.config")
        book = _book(found, prices, fallback_price)
        selector = _selector(found, registered)
        gate = _gate(found)
        installed = providers.install(service_name=service_name, endpoint=endpoint, protocol=protocol, headers=headers)
        _choose(console, threads, mode)
        settings.HISTORY.choose(place)
        settings.take(configured.written(found))
        use_prices(book)
        use_prompts(selector, environment=environment(), gate=gate)
        use_budgets(found.budgets.default, found.budgets.agents)
        if settings.LOG_PROMPT_ID.get():
            mark_records()
        _carry_and_show(installed.backend)
        _record()
        watch_exit(end_open_runs, current_pipeline())
        _State.asked = asked
        _State.configured = True


def prepare(config: Config) -> bool:
    """Puts a configuration's prompts, limits and prices in place where nobody has called `configure()`.

    That may follow. This sets no provider, shows nothing and keeps no history: it is for who runs another's agent.

    Args:
        config: the configuration.

    Returns:
        False where `configure()` was called: what it was given holds.

    Raises:
        InvalidSetting: a source of prompts is wrong.
    """
    from otel_agent.config import current as configured

    with _State.lock:
        if not _State.configured:
            settings.take(configured.written(config))
            use_prices(_book(config, None, None))
            use_prompts(_selector(config, ()), environment=environment())
            use_budgets(config.budgets.default, config.budgets.agents)
        return not _State.configured


def _tell_what_is_left_aside(asked: Mapping[str, object]) -> None:
    """Warns of a second call that asks for something else; names alone, for a header is a secret."""
    other = [name for name, value in asked.items() if value is not None and value != _State.asked.get(name)]
    if other:
        warn_once("configure", "configure() was called before: this call's %s changes nothing", ", ".join(other))


def _book(found: Config, prices: Mapping[str, Price] | None, fallback_price: Price | None) -> PriceBook:
    """Builds the price book: arguments go before the file, model by model."""
    models = {**found.prices.models, **(prices or {})}
    return price_book(models, found.prices.fallback if fallback_price is None else fallback_price)


def _check_prompts(prompts: object) -> tuple[Prompt, ...]:
    if prompts is None:
        return ()
    if isinstance(prompts, (str, Prompt)) or not isinstance(prompts, Iterable):
        raise InvalidSetting(field="configure.prompts", value=prompts, allowed="a list of Prompts")
    found = tuple(checks.each(prompts))
    return tuple(checks.instance_of("configure.prompts", each, Prompt, "a list of Prompts") for each in found)


def _selector(found: Config, prompts: tuple[Prompt, ...]) -> Selector:
    """Opens the releases of every source."""
    from otel_agent.stores.releases import ReleaseSelector  # only for who calls configure()
    from otel_agent.stores.sources import sources_of

    return ReleaseSelector(sources_of(found, prompts))


def _gate(found: Config) -> Gate | None:
    """Opens the gate of runs whose prompts must have passed, where there is one."""
    if not found.prompts.require_golden:
        return None
    from otel_agent.stores.golden_gate import GoldenGate  # only where it is asked for
    from otel_agent.stores.golden_ledger import ledger_file
    from otel_agent.stores.release_writer import ReleaseFiles
    from otel_agent.stores.sources import override_of

    return GoldenGate(ledger_file(found), ReleaseFiles(override_of(found)))


def _place(history: object) -> Path | bool:
    if isinstance(history, bool):
        return history
    text = str(history) if isinstance(history, Path) else history
    return Path(checks.text("configure.history", text, longest=4096))


def _check_choices(console: object, threads: object, mode: object) -> None:
    if console is not None:
        checks.flag("configure.console", console)
    if threads is not None:
        checks.flag("configure.threads", threads)
    if mode is not None:
        checks.choice("configure.mode", mode, ("enforce", "observe"))
    settings.check_environment()


def _choose(console: bool | None, threads: bool | None, mode: str | None) -> None:
    settings.CONSOLE.choose(console)
    settings.THREADS.choose(threads)
    settings.MODE.choose(mode)


def _carry_and_show(backend: bool) -> None:
    if settings.THREADS.get():
        ctx.carry_into_threads()
    show = settings.CONSOLE.get()
    if show or (show is None and not backend):
        from otel_agent.views.terminal import TerminalView  # only where something is drawn: it takes 5 ms

        _State.view = TerminalView()
        add_listener(_State.view)


def _record() -> None:
    """Begins to keep finished runs, where that is wanted; where it cannot be done, the log says so."""
    place = settings.HISTORY.get()
    if place is False:
        return
    from otel_agent.stores.recorder import Recorder  # only where runs are kept: it needs SQLite
    from otel_agent.stores.run_history import UnreadableHistory, default_history

    try:
        recorder = Recorder(default_history() if place is True else place)
    except (OSError, UnreadableHistory, InvalidSetting) as failed:
        warn_once("history", "finished runs are not kept: %s", failed)
        return
    recorder.start()
    deliver_too(recorder.flush)
    _State.recorder = recorder


@checks.known_keywords
def flush(timeout: float | timedelta = FLUSH_SECONDS) -> bool:
    """Sends what waits to be sent by the providers that `configure()` set.

    Args:
        timeout: seconds that it may take in all.

    Returns:
        True when everything was delivered in time, or there was nothing to send.
    """
    from otel_agent.telemetry import providers

    seconds = checks.seconds("flush.timeout", timeout)
    finish_late()
    recorder = _State.recorder
    kept = recorder is None or recorder.flush(seconds)
    return providers.flush(seconds) and kept


@checks.known_keywords
def shutdown(timeout: float | timedelta = SHUTDOWN_SECONDS) -> None:
    """Ends the providers that `configure()` set, and the terminal view; what is left is sent first.

    Args:
        timeout: seconds that it may take in all.
    """
    from otel_agent.telemetry import providers

    seconds = checks.seconds("shutdown.timeout", timeout)
    stop_marking()
    providers.shutdown(seconds)
    with _State.lock:
        view, _State.view = _State.view, None
        recorder, _State.recorder = _State.recorder, None
    if recorder is not None:
        recorder.close()
        deliver_too(None)
    if view is not None:
        remove_listener(view)
        view.close()


class Logger:
    """Emits log events by OpenTelemetry, inside a run with the run's ids."""

    @checks.known_keywords
    def event(self, name: str, fields: Mapping[str, Any] | None = None) -> None:
        """Emits one event.

        Args:
            name: the event's name.
            fields: texts, bools, numbers, or lists of them; what is none of these is given as its class's name.

        Raises:
            InvalidSetting: the name is no text, or the fields are no mapping.
        """
        checks.text("Logger.event.name", name)
        known = checks.mapping("Logger.event.fields", {} if fields is None else fields, "a mapping of names to values")
        run = current_run()
        ids: dict[str, Any] = {} if run is None else {**run.call_attributes, semconv.AGENT_NAME: run.agent}
        pipeline = current_pipeline() if run is None else run.pipeline
        events.emit(pipeline.logger, name, {**{_key(key): _field(value) for key, value in known.items()}, **ids})


def _key(key: object) -> str:
    return str(key) if isinstance(key, (str, int, float)) else type(key).__qualname__


def _field(value: object, depth: int = 0) -> Any:
    """Gives what a log record can hold: plain values, lists and mappings of them, else the class's name."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if value is None or isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return value
    if isinstance(value, Budget):
        return {item.name: _field(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if checks.is_list(value) and depth < MOST_DEPTH:
        return [_field(item, depth + 1) for item in value]
    if checks.is_mapping(value) and depth < MOST_DEPTH:
        return {_key(key): _field(item, depth + 1) for key, item in value.items()}
    return str(value) if isinstance(value, Decimal) else type(value).__qualname__
