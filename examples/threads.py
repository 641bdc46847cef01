"""Threads: a run goes along into pools and threads, so that no call made there escapes its budget.

Runs offline: it needs no model.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from otel_agent import AgentStop, Budget, agent_run, configure, current_run, tool_call


@tool_call("kb.search")
def search(query: str) -> str:
    """Looks something up."""
    return f"{query}: found"


def try_search(query: str) -> str:
    try:
        return search(query)
    except AgentStop as stop:
        return f"{query}: {stop.reason}"


@agent_run("parallel-bot", budget=Budget(max_tool_calls=5))
def look_up(queries: list[str]) -> list[str]:
    """Looks everything up at the same time: the pool's threads all draw on this run's budget."""
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(try_search, queries))


@agent_run("thread-bot")
def in_a_thread() -> None:
    """Starts a thread of its own."""
    outside = current_run()
    thread = threading.Thread(target=lambda: print(f"the thread is in the same run: {current_run() is outside}"))
    thread.start()
    thread.join()


def main() -> None:
    configure(service_name="threads")
    result = look_up.run([f"query {number}" for number in range(8)])
    found = [text for text in result.output or [] if text.endswith("found")]
    print(f"{len(found)} of 8 searches were made, {result.usage.tool_calls} were counted: {result.stop_reason}")
    in_a_thread()
    print(f"after the runs there is none: {current_run()}")


if __name__ == "__main__":
    main()
