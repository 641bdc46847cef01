"""Generators: the span is as long as the iteration, and the consumer never sees it from the inside."""

from __future__ import annotations

import contextvars
import gc
import inspect
import threading
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import StatusCode

from otel_agent import Budget, BudgetExceeded, agent_run, current_run, llm_call, tool_call
from otel_agent.testing import Capture
from tests.support.calls import ask
from tests.support.verbs import Verb, clean, current_span_name, parent_of, plain_span, wait_for

pytestmark = pytest.mark.usefixtures("unharmed")


def three(verb: Verb) -> Any:
    @verb.make()
    def numbers() -> Iterator[int]:
        yield 1
        yield 2
        yield 3

    return numbers


def ended(kept: Capture, verb: Verb) -> bool:
    return any(span.name == verb.span for span in kept.spans)


def test_it_stays_a_generator_and_gives_the_same_items(verb: Verb) -> None:
    made = three(verb)()
    assert inspect.isgenerator(made)
    assert (made.__name__, made.__qualname__) == ("numbers", "three.<locals>.numbers")
    assert list(made) == [1, 2, 3]


def test_the_span_lasts_as_long_as_the_iteration(kept: Capture, verb: Verb) -> None:
    made = three(verb)()
    for _ in range(3):
        next(made)
        assert not ended(kept, verb)
    assert list(made) == []
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


def test_spans_of_the_consumer_are_siblings_and_spans_of_the_body_are_children(kept: Capture, verb: Verb) -> None:
    @verb.make()
    def numbers() -> Iterator[int]:
        for number in range(2):
            with plain_span(kept, f"inside {number}"):
                pass
            yield number

    with plain_span(kept, "consumer"):
        for number in numbers():
            assert current_span_name() == "consumer"
            with plain_span(kept, f"outside {number}"):
                pass
    assert {parent_of(kept, f"inside {number}") for number in range(2)} == {verb.span}
    assert {parent_of(kept, f"outside {number}") for number in range(2)} == {"consumer"}
    assert parent_of(kept, verb.span) == "consumer"


def test_a_span_that_the_body_keeps_open_over_a_yield_stays_the_bodys(kept: Capture, verb: Verb) -> None:
    @verb.make()
    def numbers() -> Iterator[str | None]:
        with plain_span(kept, "kept open"):
            yield current_span_name()
            yield current_span_name()

    seen = []
    for name in numbers():
        seen += [name, current_span_name()]
    assert seen == ["kept open", None] * 2
    assert parent_of(kept, "kept open") == verb.span


def test_each_step_runs_under_the_spans_owner_whoever_takes_it(kept: Capture, verb: Verb) -> None:
    @verb.make()
    def names() -> Iterator[str | None]:
        while True:
            yield current_span_name()

    made = names()
    with plain_span(kept, "first"):
        assert next(made) == verb.span
    with plain_span(kept, "second"):
        assert next(made) == verb.span
        assert current_span_name() == "second"
    made.close()
    assert parent_of(kept, verb.span) == "first"


def test_send_throw_and_the_return_value_are_kept(verb: Verb) -> None:
    @verb.make()
    def echo() -> Generator[Any, Any, str]:
        got: list[Any] = []
        while len(got) < 3:
            try:
                got.append((yield got[-1] if got else "ready"))
            except KeyError as exc:
                got.append(exc)
        return f"{got[0]}, {type(got[1]).__name__}, {got[2]}"

    made = echo()
    problem = KeyError("x")
    assert next(made) == "ready"
    assert made.send("first") == "first"
    assert made.throw(problem) is problem
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == "first, KeyError, None"


def test_what_is_thrown_in_and_not_caught_comes_out_as_the_same_object(kept: Capture, verb: Verb) -> None:
    made, problem = three(verb)(), ValueError("x")
    next(made)
    with pytest.raises(ValueError, match="x") as raised:
        made.throw(problem)
    assert raised.value is problem
    assert (problem.__cause__, problem.__context__) == (None, None)
    assert kept.span(verb.span).status.status_code is StatusCode.ERROR


def test_yield_from_works_in_both_directions(verb: Verb) -> None:
    @verb.make()
    def inner() -> Generator[int, int, int]:
        return 10 * (yield 1)

    @verb.make()
    def outer() -> Generator[int, int, int]:
        return 1 + (yield from inner())

    made = outer()
    assert next(made) == 1
    with pytest.raises(StopIteration) as end:
        made.send(4)
    assert end.value.value == 41


def close_it(made: Any) -> None:
    made.close()


def throw_it(made: Any) -> None:
    with pytest.raises(GeneratorExit):
        made.throw(GeneratorExit)


def break_off(made: Any) -> None:
    for _ in made:
        break


@pytest.mark.parametrize("end", [close_it, throw_it, break_off, lambda made: None])
def test_an_early_close_ends_the_span_at_once_and_is_no_error(kept: Capture, verb: Verb, end: Any) -> None:
    made = three(verb)()
    next(made)
    end(made)
    del made
    span = kept.span(verb.span)
    assert span.status.status_code is StatusCode.UNSET
    assert span.events == ()
    assert "error.type" not in (span.attributes or {})
    assert (span.attributes or {})["otel_agent.stop_reason"] == "cancelled"


def test_an_early_close_runs_the_bodys_own_cleaning_inside_the_span(kept: Capture, verb: Verb) -> None:
    seen: list[Any] = []

    @verb.make()
    def numbers() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit as exc:
            seen.append(type(exc))
            raise
        finally:
            seen.append(current_span_name())

    made = numbers()
    next(made)
    made.close()
    made.close()
    assert seen == [GeneratorExit, verb.span]


def test_a_run_that_is_closed_early_is_cancelled(kept: Capture) -> None:
    @agent_run("it")
    def numbers() -> Iterator[int]:
        ask()
        yield 1
        ask()

    for _ in numbers():
        break
    (run,) = kept.records.runs
    assert (run.stop_reason, run.error_type, run.usage.steps) == ("cancelled", None, 1)


def test_a_body_that_returns_when_it_is_closed_was_closed_early_all_the_same(kept: Capture) -> None:
    @agent_run("it")
    def numbers() -> Generator[int, None, str]:
        try:
            yield 1
        except GeneratorExit:
            return "closed"
        return "done"

    made = numbers()
    next(made)
    made.close()
    assert [run.stop_reason for run in kept.records.runs] == ["cancelled"]


def test_a_body_that_refuses_to_close_is_told_so_as_ever(verb: Verb) -> None:
    @verb.make()
    def stubborn() -> Iterator[int]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    made = stubborn()
    next(made)
    with pytest.raises(RuntimeError, match="generator ignored GeneratorExit"):
        made.close()
    with pytest.raises(StopIteration):
        next(made)


def test_an_error_while_closing_is_the_bodys_own(kept: Capture, verb: Verb) -> None:
    @verb.make()
    def numbers() -> Iterator[int]:
        try:
            yield 1
        finally:
            raise OSError("disk full")

    made = numbers()
    next(made)
    with pytest.raises(OSError, match="disk full") as raised:
        made.close()
    assert isinstance(raised.value.__context__, GeneratorExit)
    assert kept.span(verb.span).status.status_code is StatusCode.ERROR


def test_an_error_of_the_body_ends_the_span_as_failed(kept: Capture, verb: Verb) -> None:
    @verb.make()
    def numbers() -> Iterator[int]:
        yield 1
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        list(numbers())
    span = kept.span(verb.span)
    assert span.status.status_code is StatusCode.ERROR
    assert [event.name for event in span.events] == ["exception"]


def test_a_stop_iteration_in_the_body_is_turned_as_ever(verb: Verb) -> None:
    @verb.make()
    def numbers() -> Iterator[int]:
        yield next(iter([]))

    with pytest.raises(RuntimeError, match="generator raised StopIteration"):
        next(numbers())


def test_one_that_is_never_iterated_leaves_nothing(kept: Capture, verb: Verb) -> None:
    made = three(verb)()
    del made
    three(verb)().close()
    assert kept.spans == []
    assert kept.records.started == []


def test_wrong_arguments_fail_where_they_are_given(kept: Capture, verb: Verb) -> None:
    with pytest.raises(TypeError, match="takes 0 positional arguments but 1 was given"):
        three(verb)(1)
    assert kept.spans == []


def test_one_in_a_cycle_is_closed_by_the_collector(kept: Capture, verb: Verb) -> None:
    holder: dict[str, Any] = {"made": three(verb)()}
    holder["self"] = holder
    next(holder["made"])
    del holder
    gc.collect()
    wait_for(lambda: ended(kept, verb))
    assert kept.span(verb.span).status.status_code is StatusCode.UNSET


def test_it_may_be_taken_from_several_threads_in_turn(kept: Capture, verb: Verb) -> None:
    made, seen = three(verb)(), []

    def take() -> None:
        with clean():
            seen.append(next(made))

    for _ in range(3):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert seen == [1, 2, 3]
    assert list(made) == []
    assert ended(kept, verb)


def test_two_at_once_do_not_mix(kept: Capture, verb: Verb) -> None:
    @verb.make()
    def spans() -> Iterator[Any]:
        while True:
            yield trace.get_current_span()

    left, right = spans(), spans()
    pairs = [(next(left), next(right)) for _ in range(3)]
    left.close()
    assert next(right) is pairs[0][1]
    right.close()
    assert len({id(span) for span, _ in pairs}) == len({id(span) for _, span in pairs}) == 1
    assert pairs[0][0] is not pairs[0][1]


def test_a_refusal_comes_at_the_first_step() -> None:
    @tool_call("it")
    def numbers() -> Iterator[int]:
        yield 1

    with agent_run(budget=Budget(max_tool_calls=0)):
        made = numbers()
        with pytest.raises(BudgetExceeded):
            next(made)


def test_what_the_body_spends_is_the_runs_and_what_the_consumer_spends_is_not(kept: Capture) -> None:
    @agent_run("inner")
    def numbers() -> Iterator[int]:
        for number in range(3):
            ask()
            yield number

    with agent_run("outer") as outer:
        for _ in numbers():
            ask()
    own = {run.agent: run.own_usage.steps for run in kept.records.runs}
    assert own == {"inner": 3, "outer": 3}
    assert outer.result.usage.steps == 6


def test_a_run_is_current_inside_its_body_only() -> None:
    @agent_run("it")
    def runs() -> Iterator[Any]:
        while True:
            yield current_run()

    made = runs()
    first = next(made)
    assert first is not None
    assert current_run() is None
    assert next(made) is first
    made.close()


def test_an_item_lives_no_longer_than_the_consumer_keeps_it(verb: Verb) -> None:
    class Item:
        pass

    @verb.make()
    def items() -> Iterator[Item]:
        while True:
            yield Item()

    made = items()
    item = next(made)
    alive = weakref.ref(item)
    del item
    assert alive() is None
    made.close()


def test_arguments_live_no_longer_than_the_body_keeps_them(verb: Verb) -> None:
    class Document:
        pass

    @verb.make()
    def pages(document: Document) -> Iterator[int]:
        yield 1
        del document
        yield 2

    given = Document()
    alive = weakref.ref(given)
    made = pages(given)
    del given
    next(made)
    assert alive() is not None
    next(made)
    assert alive() is None
    made.close()


def test_an_exception_is_freed_with_its_last_name_and_waits_for_no_collector(verb: Verb) -> None:
    class Problem(Exception):
        pass

    made, problem = three(verb)(), Problem()
    alive = weakref.ref(problem)
    next(made)
    gc.disable()
    try:
        try:
            made.throw(problem)
        except Problem:
            del problem
        assert alive() is None
    finally:
        gc.enable()


def test_an_llm_call_reads_the_items_and_settles_at_the_end(kept: Capture) -> None:
    @llm_call("it")
    def chunks() -> Iterator[dict[str, Any]]:
        yield {"choices": [{"delta": {"content": "Hello"}}]}
        yield {"model": "it-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}}

    with agent_run() as run:
        assert len(list(chunks())) == 2
    assert (run.result.usage.input_tokens, run.result.usage.output_tokens) == (7, 2)
    assert not run.result.usage.estimated
    assert (kept.span("chat it").attributes or {})["gen_ai.response.model"] == "it-1"


def test_an_llm_call_that_is_closed_early_is_settled_at_its_estimate() -> None:
    @llm_call("it", estimated_input_tokens=100, max_output_tokens=50)
    def chunks() -> Iterator[dict[str, Any]]:
        yield {"choices": [{"delta": {"content": "Hello"}}]}
        yield {"usage": {"prompt_tokens": 7, "completion_tokens": 2}}

    with agent_run(budget=Budget(max_tokens=1000)) as run:
        for _ in chunks():
            break
        assert run.remaining().tokens == 850
    assert run.result.usage.estimated


def test_its_body_may_take_away_the_first_context_of_a_thread(verb: Verb) -> None:
    def read() -> list[Any]:
        token = otel.attach(Context({"mine": 1}))

        @verb.make()
        def spans() -> Iterator[Any]:
            otel.detach(token)
            yield otel.get_current()
            yield otel.get_current()

        return list(spans())

    assert contextvars.Context().run(read) == [Context(), Context()]
