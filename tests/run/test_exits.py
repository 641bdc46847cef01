"""How open runs end when the process does, and what is delivered then: each in a process of its own."""

from __future__ import annotations

import signal
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from otel_agent import semconv
from tests.support.otlp import OtlpReceiver, attributes
from tests.support.processes import ended, send, start


def reason(receiver: OtlpReceiver, agent: str = "bot") -> str:
    """Gives the stop reason and detail of the one run of an agent."""
    found = reasons(receiver, agent)
    assert len(found) == 1, [span.name for span in receiver.spans]
    return found[0]


def reasons(receiver: OtlpReceiver, agent: str = "bot") -> list[str]:
    """Gives the stop reasons and details of all runs of an agent."""
    found: list[dict[str, Any]] = [
        attributes(span.attributes) for span in receiver.spans if span.name == f"invoke_agent {agent}"
    ]
    return [f"{each[semconv.STOP_REASON]}:{each.get(semconv.STOP_DETAIL)}" for each in found]


OPEN_FOREVER = """
configure("exits", endpoint=os.environ["TO"])
@agent_run("bot")
def bot():
    with llm_call("gpt-5-mini"):
        ready()
        time.sleep(60)
bot()
"""


def test_sigterm_ends_open_runs_delivers_them_and_the_process_dies_of_it() -> None:
    with OtlpReceiver() as receiver:
        process = start(OPEN_FOREVER, TO=receiver.endpoint)
        send(process, signal.SIGTERM)
        status, _, err = ended(process)
        assert status == -signal.SIGTERM
        assert reason(receiver) == "cancelled:sigterm"
        assert "Traceback" not in err


def test_code_that_goes_on_after_sigterm_ends_quietly_at_its_next_call() -> None:
    source = """
    configure("exits", endpoint=os.environ["TO"])
    @tool_call("search")
    def search():
        time.sleep(0.02)
    @agent_run("bot")
    def bot():
        ready()
        while True:
            try:
                search()
            except Exception as exc:
                print("went on after", type(exc).__name__, flush=True)
    bot()
    """
    with OtlpReceiver(mode="hang") as receiver:  # so that the process takes a while to die
        process = start(source, TO=receiver.endpoint)
        send(process, signal.SIGTERM)
        status, out, err = ended(process)
        assert (status, out) == (-signal.SIGTERM, "")
        assert "Traceback" not in err


def test_ctrl_c_ends_open_runs_and_delivers_them() -> None:
    with OtlpReceiver() as receiver:
        process = start(OPEN_FOREVER, TO=receiver.endpoint)
        send(process, signal.SIGINT)
        status, _, err = ended(process)
        assert status == -signal.SIGINT
        assert "KeyboardInterrupt" in err
        assert reason(receiver) == "cancelled:sigint"
        assert {span.name for span in receiver.spans} == {"invoke_agent bot", "chat gpt-5-mini"}


CTRL_C = {
    "in a task of asyncio": """
@agent_run("bot")
async def bot():
    ready()
    await asyncio.sleep(60)
async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(bot())
asyncio.run(main())
""",
    "while a thread has a run open": """
opened = threading.Event()
def work():
    with agent_run("bot"):
        opened.set()
        time.sleep(60)
threading.Thread(target=work, daemon=True).start()
opened.wait(60)
ready()
time.sleep(60)
""",
}


@pytest.mark.parametrize("where", CTRL_C)
def test_ctrl_c_is_told_also_of_runs_that_it_ends_by_way_of_others(where: str) -> None:
    with OtlpReceiver() as receiver:
        process = start(
            'import asyncio\nconfigure("exits", endpoint=os.environ["TO"])\n' + CTRL_C[where], TO=receiver.endpoint
        )
        send(process, signal.SIGINT)
        assert ended(process)[0] == -signal.SIGINT
        assert reason(receiver) == "cancelled:sigint"


def test_what_is_cancelled_without_ctrl_c_is_not_told_to_be_interrupted() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            import asyncio
            configure("exits", endpoint=os.environ["TO"])
            @agent_run("bot")
            async def bot():
                await asyncio.sleep(60)
            async def main():
                task = asyncio.create_task(bot())
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            asyncio.run(main())
            """,
            TO=receiver.endpoint,
        )
        assert ended(process)[::2] == (0, "")
        assert reason(receiver) == "cancelled:None"


def test_a_run_that_is_open_at_a_normal_exit_ends_as_cancelled_also_when_it_opened_before_configure() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            early = agent_run("early").__enter__()
            configure("exits", endpoint=os.environ["TO"])
            bot = agent_run("bot").__enter__()
            """,
            TO=receiver.endpoint,
        )
        assert ended(process)[::2] == (0, "")
        assert reason(receiver) == "cancelled:exit"


def test_sys_exit_inside_a_run_says_so() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            configure("exits", endpoint=os.environ["TO"])
            with agent_run("bot"):
                sys.exit(7)
            """,
            TO=receiver.endpoint,
        )
        assert ended(process)[0] == 7
        assert reason(receiver) == "cancelled:exit"


def test_an_applications_own_sigterm_handler_is_never_replaced() -> None:
    with OtlpReceiver() as receiver:
        own = "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(9))"
        process = start(own + OPEN_FOREVER, TO=receiver.endpoint)
        send(process, signal.SIGTERM)
        assert ended(process)[0] == 9
        assert reason(receiver) == "cancelled:exit"


def test_a_handler_that_the_application_sets_later_stays() -> None:
    process = start(
        """
        configure(console=False)
        one = agent_run("one").__enter__()
        signal.signal(signal.SIGTERM, lambda number, frame: os._exit(11))
        two = agent_run("two").__enter__()
        ready()
        time.sleep(60)
        """
    )
    send(process, signal.SIGTERM)
    assert ended(process)[0] == 11


def test_sigterm_delivers_to_an_applications_own_provider_too() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            provider = TracerProvider()
            provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(os.environ["TO"] + "/v1/traces")))
            trace.set_tracer_provider(provider)
            with agent_run("bot"):
                ready()
                time.sleep(60)
            """,
            TO=receiver.endpoint,
        )
        send(process, signal.SIGTERM)
        assert ended(process)[0] == -signal.SIGTERM
        assert reason(receiver) == "cancelled:sigterm"


@pytest.mark.parametrize("mode", ["refuse", "hang"])
def test_a_backend_that_is_down_or_hangs_holds_the_exit_up_for_two_seconds_at_most(mode: Any) -> None:
    with OtlpReceiver(mode=mode) as receiver:
        process = start(
            """
            import atexit
            atexit.register(lambda: print(time.time() - began))
            configure("exits", endpoint=os.environ["TO"])
            with agent_run("bot"):
                pass
            began = time.time()
            """,
            TO=receiver.endpoint,
        )
        status, out, err = ended(process)
        assert status == 0
        assert float(out) < 2.5
        assert len([line for line in err.splitlines() if "1 span" in line]) == 1, err


def test_sigterm_while_a_normal_exit_waits_for_the_backend_still_ends_the_process() -> None:
    with OtlpReceiver(mode="hang") as receiver:
        process = start(
            """
            import atexit
            leaving, sent = threading.Event(), threading.Event()
            def terminate():
                leaving.wait(60)
                time.sleep(0.3)
                os.kill(os.getpid(), signal.SIGTERM)
                sent.set()
            atexit.register(sent.wait, 60)  # so that the signal comes before the end on a slow machine too
            configure("exits", endpoint=os.environ["TO"])
            with agent_run("bot"):
                pass
            atexit.register(leaving.set)
            threading.Thread(target=terminate, daemon=True).start()
            """,
            TO=receiver.endpoint,
        )
        status, _, err = ended(process)
        assert status == -signal.SIGTERM
        assert len([line for line in err.splitlines() if "1 span" in line]) == 1, err


def test_sigterm_while_the_process_waits_for_a_thread_ends_its_runs_and_the_process() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            configure("exits", endpoint=os.environ["TO"])
            def work():
                with agent_run("bot"):
                    time.sleep(0.3)  # until the main thread waits; CPython 3.11 cannot be asked without a race
                    ready()
                    time.sleep(60)
            threading.Thread(target=work).start()
            """,
            TO=receiver.endpoint,
        )
        send(process, signal.SIGTERM)
        assert ended(process, 30)[0] == -signal.SIGTERM
        assert reason(receiver) == "cancelled:sigterm"


def test_all_that_sigterm_delivers_shares_one_deadline() -> None:
    with OtlpReceiver(mode="hang") as receiver:
        process = start(
            """
            from otel_agent.run.exits import deliver_too
            configure("exits", endpoint=os.environ["TO"])
            deliver_too(time.sleep)
            with agent_run("bot"):
                ready()
                time.sleep(60)
            """,
            TO=receiver.endpoint,
        )
        send(process, signal.SIGTERM)
        began = time.monotonic()
        assert ended(process)[0] == -signal.SIGTERM
        assert time.monotonic() - began < 3.5


def test_sigterm_in_the_middle_of_gates_does_not_hang() -> None:
    process = start(
        """
        configure(console=False)
        @tool_call("t")
        def tool(): pass
        def work():
            while True:
                with agent_run("bot", budget=Budget(max_tool_calls=1000)):
                    for _ in range(500): tool()
        threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
        [thread.start() for thread in threads]
        ready()
        work()
        """
    )
    send(process, signal.SIGTERM)
    assert ended(process, 15)[0] == -signal.SIGTERM


def test_sigterm_while_no_run_is_open_ends_the_process_at_once() -> None:
    process = start(
        """
        configure(console=False)
        with agent_run("bot"): pass
        ready()
        time.sleep(60)
        """
    )
    send(process, signal.SIGTERM)
    began = time.monotonic()
    assert ended(process)[0] == -signal.SIGTERM
    assert time.monotonic() - began < 3


def test_asyncio_run_twice_in_one_process_works() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            import asyncio
            configure("exits", endpoint=os.environ["TO"])
            @agent_run(budget=Budget(max_seconds=5))
            async def bot():
                async with llm_call("gpt-5-mini") as call:
                    await asyncio.sleep(0)
                    call.record(input_tokens=1, output_tokens=1)
            asyncio.run(bot())
            asyncio.run(bot())
            """,
            TO=receiver.endpoint,
        )
        assert ended(process)[::2] == (0, "")
        assert [span.name for span in receiver.spans].count("invoke_agent bot") == 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_workers_deliver_their_runs(method: str, tmp_path: Path) -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            import multiprocessing
            def work(number):
                configure("exits", endpoint=os.environ["TO"])
                with agent_run("bot"):
                    pass
            if __name__ == "__main__":
                context = multiprocessing.get_context(os.environ["METHOD"])
                if os.environ["METHOD"] == "fork":
                    configure("exits", endpoint=os.environ["TO"])
                workers = [context.Process(target=work, args=(i,)) for i in range(3)]
                [worker.start() for worker in workers]
                [worker.join() for worker in workers]
                sys.exit(max(worker.exitcode for worker in workers))
            """,
            file=tmp_path / "workers.py",
            TO=receiver.endpoint,
            METHOD=method,
        )
        assert ended(process)[::2] == (0, "")
        assert [span.name for span in receiver.spans] == ["invoke_agent bot"] * 3


WORKERS = {
    "process": "worker = context.Process(target=work); worker.start(); worker.join()",
    "executor": """
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin) as pool: pool.submit(bot).result()""",
    "pool": "pool = context.Pool(1, initializer=begin); pool.apply(bot); pool.close(); pool.join()",
}


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("kind", WORKERS)
def test_workers_deliver_that_configure_themselves(kind: str, method: str, tmp_path: Path) -> None:
    source = """
    import multiprocessing
    def begin():
        configure("exits", endpoint=os.environ["TO"])
    def bot():
        with agent_run("bot"):
            pass
    def work():
        begin()
        bot()
    if __name__ == "__main__":
        context = multiprocessing.get_context(os.environ["METHOD"])
    """
    last = textwrap.indent(textwrap.dedent(WORKERS[kind]), "    ")
    with OtlpReceiver() as receiver:
        program = textwrap.dedent(source) + last
        process = start(program, file=tmp_path / "workers.py", TO=receiver.endpoint, METHOD=method)
        assert ended(process)[::2] == (0, "")
        assert reason(receiver) == "finish:None"


@pytest.mark.parametrize("configured", ["parent", "worker"])
def test_runs_that_are_open_when_a_forked_worker_ends_end_as_cancelled_and_those_that_it_waits_for_finish(
    configured: str,
) -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            import multiprocessing
            def begin(where):
                if os.environ["CONFIGURED"] == where:
                    configure("exits", endpoint=os.environ["TO"])
            def run(name, opened, go_on):
                with agent_run(name):
                    opened.set()
                    go_on.wait(60)
                    with tool_call("late"): pass
            def work():
                begin("worker")
                for name, daemon, go_on in [("bot", True, threading.Event()), ("awaited", False, started)]:
                    opened = threading.Event()
                    threading.Thread(target=run, args=(name, opened, go_on), daemon=daemon).start()
                    opened.wait(60)
                threading.Timer(0.3, started.set).start()
            started = threading.Event()
            begin("parent")
            worker = multiprocessing.get_context("fork").Process(target=work)
            worker.start()
            worker.join()
            sys.exit(worker.exitcode)
            """,
            TO=receiver.endpoint,
            CONFIGURED=configured,
        )
        assert ended(process)[::2] == (0, "")
        assert reason(receiver) == "cancelled:exit"
        assert reason(receiver, "awaited") == "finish:None"
        assert [span.name for span in receiver.spans].count("execute_tool late") == 1


def test_sigterm_to_a_forked_child_ends_its_open_runs_and_none_of_the_parents() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            configure("exits", endpoint=os.environ["TO"])
            with agent_run("parent"):
                reading, writing = os.pipe()
                child = os.fork()
                if child == 0:
                    with agent_run("bot"):
                        os.write(writing, b"open")
                        time.sleep(60)
                os.read(reading, 4)
                os.kill(child, signal.SIGTERM)
                print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            """,
            TO=receiver.endpoint,
        )
        assert ended(process)[:2] == (0, f"{-signal.SIGTERM}\n")
        assert reason(receiver) == "cancelled:sigterm"
        assert reason(receiver, "parent") == "finish:None"


def test_forked_workers_serve_runs_of_their_own_and_end_none_of_the_parents() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            configure("exits", endpoint=os.environ["TO"])
            with agent_run("parent"):
                children = []
                for number in range(3):
                    child = os.fork()
                    if child == 0:
                        os.environ["CHILD"] = "1"
                        break
                    children.append(child)
                if "CHILD" in os.environ:
                    threading.Thread(target=lambda: None).start()
                    with agent_run("bot"):
                        with tool_call("search"): pass
                    left = agent_run("left").__enter__()
                    sys.exit(0)
                for child in children:
                    os.waitpid(child, 0)
            """,
            TO=receiver.endpoint,
        )
        status, _, _ = ended(process)
        assert status == 0
        assert reason(receiver, "parent") == "finish:None"
        assert reasons(receiver) == ["finish:None"] * 3
        assert reasons(receiver, "left") == ["cancelled:exit"] * 3
        assert [span.name for span in receiver.spans].count("execute_tool search") == 3


def test_sigterm_delivers_the_runs_of_threads_too() -> None:
    with OtlpReceiver() as receiver:
        process = start(
            """
            configure("exits", endpoint=os.environ["TO"])
            def work():
                with agent_run("done"): pass
                with agent_run("bot"):
                    ready()
                    time.sleep(60)
            threading.Thread(target=work, daemon=True).start()
            time.sleep(60)
            """,
            TO=receiver.endpoint,
        )
        send(process, signal.SIGTERM)
        assert ended(process)[0] == -signal.SIGTERM
        assert reason(receiver) == "cancelled:sigterm"
        assert reason(receiver, "done") == "finish:None"


def test_configure_in_the_main_thread_is_enough_for_sigterm_where_only_other_threads_make_runs() -> None:
    process = start(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
        from otel_agent.semconv import STOP_DETAIL
        class Shown(SpanProcessor):
            def on_end(self, span): print(span.attributes[STOP_DETAIL], flush=True)
        provider = TracerProvider()
        provider.add_span_processor(Shown())
        trace.set_tracer_provider(provider)
        configure(console=False)
        def work():
            with agent_run("bot"):
                ready()
                time.sleep(60)
        threading.Thread(target=work, daemon=True).start()
        time.sleep(60)
        """
    )
    send(process, signal.SIGTERM)
    assert ended(process)[:2] == (-signal.SIGTERM, "sigterm\n")


def test_open_runs_are_found_while_others_open_and_end() -> None:
    process = start(
        """
        from otel_agent.run import open_runs
        configure(console=False)
        def work():
            for _ in range(3000):
                with agent_run("bot"): pass
        threads = [threading.Thread(target=work) for _ in range(4)]
        [thread.start() for thread in threads]
        while any(thread.is_alive() for thread in threads):
            open_runs()
        """
    )
    assert ended(process)[::2] == (0, "")
