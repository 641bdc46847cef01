"""`configure()` and the file: which one it finds, what then holds, and that a broken one changes nothing."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

from otel_agent import Budget, InvalidSetting, agent_run, configure
from otel_agent.config.current import current, written
from otel_agent.config.problems import InvalidFile
from otel_agent.config.values import Budgets, Config, Observability, PromptsSection
from otel_agent.run.defaults import use_budgets
from tests.config.test_file import FROM_THE_ISSUE
from tests.support.processes import ended, start


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OTEL_AGENT_CONFIG", "OTEL_AGENT_MODE", "OTEL_AGENT_REQUIRE_PROMPT_ID"):
        monkeypatch.delenv(name, raising=False)


def run(source: str, folder: Path, **environment: str) -> str:
    """Runs a program in a folder and gives what it printed."""
    status, out, err = ended(start(f"os.chdir({str(folder)!r})\n{source}", **environment))
    assert (status, err) == (0, ""), err
    return out


LIMITS = """
def used(name="bot", **keywords):
    with agent_run(name, **keywords) as run:
        return run.budget.limits
"""


def test_budgets_of_the_file_hold_for_every_run_that_names_none(tmp_path: Path) -> None:
    text = "budgets: {max_tool_calls: 2, agents: {careful: {max_tool_calls: 1}}}\nobservability: {console: false}"
    (tmp_path / "otel-agent.yaml").write_text(text)
    source = """
        configure()
        def calls(name, **keywords):
            @agent_run(name, **keywords)
            def bot():
                for _ in range(4):
                    with tool_call("t"): pass
            result = bot.run()
            return f"{result.stop_reason}:{result.usage.tool_calls}"
        print(calls("bot"), calls("careful"))
        print(calls("bot", budget=Budget()), calls("bot", budget=Budget(max_tool_calls=3)))
        @agent_run("bot", budget=Budget())
        def parent():
            return calls("careful")
        print(parent())
    """
    out = run(textwrap.dedent(source), tmp_path)
    assert out == "max_tool_calls:2 max_tool_calls:1\nfinish:4 max_tool_calls:3\nmax_tool_calls:1\n"


def test_the_file_of_few_lines_does_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "otel-agent.yaml").write_text(FROM_THE_ISSUE)
    source = """
import logging
from otel_agent import InvalidSetting, Prompt, shutdown
configure(console=False)
for prompt in (None, "support"):  # none is refused, and the active version has no text anywhere
    try:
        with agent_run("bot", prompt=prompt):
            print("it ran")
    except InvalidSetting as wrong:
        print(wrong.field)
records = []
handler = logging.Handler()
handler.emit = records.append
logging.getLogger("app").addHandler(handler)
with agent_run("bot", prompt=Prompt("support", "v13", "Answer using KB.")) as run:
    print(run.budget.limits == Budget(max_steps=25, max_tool_calls=12, max_seconds=60))
    logging.getLogger("app").warning("inside")
    shutdown()
    logging.getLogger("app").warning("after shutdown")
kept = [vars(record).get("otel_agent.prompt.id") for record in records]
print(kept == [run.prompt_id, None])
"""
    assert run(source, tmp_path, HOME=str(tmp_path)).splitlines() == [
        "agent_run.prompt",
        "agent_run.prompt",
        "True",
        "True",
    ]


def test_a_file_is_named_by_the_argument_else_by_the_variable_else_it_stands_here(tmp_path: Path) -> None:
    for name, steps in (("otel-agent.yaml", 1), ("variable.yaml", 2), ("argument.yaml", 3)):
        (tmp_path / name).write_text(f"budgets: {{max_steps: {steps}}}\nobservability: {{console: false}}")
    show = LIMITS + "configure({})\nprint(used().max_steps)"
    named = {"OTEL_AGENT_CONFIG": "variable.yaml"}
    assert run(show.format(""), tmp_path) == "1\n"
    assert run(show.format(""), tmp_path, **named) == "2\n"
    assert run(show.format("config='argument.yaml'"), tmp_path, **named) == "3\n"


def test_an_argument_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "otel-agent.yaml").write_text("observability: {mode: observe, console: false}")
    show = "from otel_agent.config import MODE\nconfigure({})\nprint(MODE.get(), MODE.source())"
    enforce = {"OTEL_AGENT_MODE": "enforce"}
    assert run(show.format(""), tmp_path) == "observe file\n"
    assert run(show.format(""), tmp_path, **enforce) == "enforce environment\n"
    assert run(show.format("mode='observe'"), tmp_path, **enforce) == "observe argument\n"
    (tmp_path / "otel-agent.yaml").write_text("observability: {console: false}")
    assert run(show.format(""), tmp_path) == "enforce default\n"


def test_prices_of_the_file_are_under_those_of_the_argument(tmp_path: Path) -> None:
    text = "prices: {a: {input: 1, output: 0}, b: {input: 1, output: 0}, fallback: {input: 4, output: 0}}"
    (tmp_path / "otel-agent.yaml").write_text(text)
    source = """
from otel_agent import Price
configure(console=False, prices={"b": Price(input=2, output=0)})
for model in ("a", "b", "unheard-of"):
    with agent_run() as run, llm_call(model) as call:
        call.record(input_tokens=1_000_000, output_tokens=0)
    print(run.result.usage.cost_usd)
"""
    assert run(source, tmp_path).split() == ["1", "2", "4"]


def test_a_broken_file_tells_everything_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("budgets: {max_steps: many}\nobservability: {mode: obseve, console: yes}")
    (tmp_path / "otel-agent.yaml").write_text("budgets: {max_steps: 5}\nobservability: {console: false}")
    source = (
        LIMITS
        + """
from opentelemetry import trace
from otel_agent import InvalidSetting
try:
    configure(config="broken.yaml", endpoint="http://127.0.0.1:9")
except InvalidSetting as wrong:
    print(wrong)
print(used().max_steps, trace._TRACER_PROVIDER)
configure()
print(used().max_steps)
"""
    )
    lines = run(source, tmp_path).splitlines()
    assert [line.partition(" = ")[0] for line in lines[:3]] == [
        f"{tmp_path}/broken.yaml:1:22: budgets.max_steps",
        f"{tmp_path}/broken.yaml:2:23: observability.mode",
        f"{tmp_path}/broken.yaml:2:40: observability.console",
    ]
    assert lines[3:] == ["None None", "5"]


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ("nowhere.yaml", "configure.config = 'nowhere.yaml': must be a file that is there: No such file"),
        (".", "must be a plain file"),
        ("", "a file's name"),
        (5, "a file's name, a Config, or None"),
        (b"otel-agent.yaml", "a file's name"),
        ("a\0b", "a file that is there"),
    ],
)
def test_what_is_no_file_is_refused(given: Any, allowed: str) -> None:
    with pytest.raises(InvalidSetting, match=allowed):
        configure(config=given)


def prompts(**values: Any) -> Config:
    return Config(prompts=PromptsSection(**values))


@pytest.mark.parametrize(
    ("own", "field"),
    [
        (Config(budgets=5), "Config.budgets"),  # type: ignore[arg-type]
        (Config(budgets=Budgets(default={"max_steps": 1})), "Config.budgets.default"),  # type: ignore[arg-type]
        (Config(budgets=Budgets(agents={"a": 5})), "Config.budgets.agents"),  # type: ignore[dict-item]
        (Config(observability=Observability(mode="OBSERVE")), "Config.observability.mode"),  # type: ignore[arg-type]
        (Config(observability=Observability(threads="no")), "Config.observability.threads"),  # type: ignore[arg-type]
        (Config(observability=Observability(console=5)), "Config.observability.console"),  # type: ignore[arg-type]
        (
            prompts(texts={"support": "my words"}),
            r"Config\.prompts\.texts\['support'\] = <class 'str'>",
        ),
        (prompts(texts=5), r"Config\.prompts\.texts"),
        (prompts(texts={"support": {"v1": 5}}), r"Prompt\.text"),
        (prompts(canary={"support": {"version": "v1"}}), r"Config\.prompts\.canary\['support'\]"),
        (prompts(canary=5), r"Config\.prompts\.canary"),
        (prompts(active="support:v1"), r"Config\.prompts\.active = 'support:v1': must be a tuple"),
        (prompts(active=5), r"Config\.prompts\.active"),
        (prompts(rollback=None), r"Config\.prompts\.rollback"),
        (prompts(active=(5,)), r"prompts\.active"),
    ],
    ids=str,
)
def test_a_config_with_a_wrong_part_is_refused(own: Config, field: str) -> None:
    with pytest.raises(InvalidSetting, match=field):
        configure(config=own)


def test_a_variable_that_names_no_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_AGENT_CONFIG", "nowhere.yaml")
    with pytest.raises(InvalidSetting, match=r"OTEL_AGENT_CONFIG = 'nowhere\.yaml'"):
        configure()


def test_what_has_the_name_of_the_file_and_is_none_is_refused() -> None:
    here = Path("otel-agent.yaml")
    here.mkdir()
    with pytest.raises(InvalidSetting, match=r"otel-agent\.yaml = .*: must be a plain file; this is none"):
        configure()
    here.rmdir()
    here.symlink_to("nothing.yaml")
    with pytest.raises(InvalidSetting, match="No such file or directory, to which this is a link"):
        configure()
    Path("nothing.yaml").write_text("observability: {mode: observe}")
    assert current().observability.mode == "observe"


def test_a_config_of_ones_own(tmp_path: Path) -> None:
    source = (
        LIMITS
        + """
from otel_agent.config import MODE
from otel_agent.config.values import Budgets, Config, Observability
own = Config(budgets=Budgets(default=Budget(max_steps=7)), observability=Observability(mode="observe"))
configure(console=False, config=own)
print(used().max_steps, MODE.get())
"""
    )
    assert run(source, tmp_path) == "7 observe\n"
    assert run(source, tmp_path, OTEL_AGENT_MODE="enforce") == "7 enforce\n"


def test_the_environment_stands_over_the_file_in_the_values_too(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("otel-agent.yaml").write_text("prompts: {require_prompt_id: false, folder: texts}")
    monkeypatch.setenv("OTEL_AGENT_REQUIRE_PROMPT_ID", "true")
    found = current()
    assert found.prompts.require_prompt_id is True
    assert found.prompts.folder == Path.cwd() / "texts"
    assert current(Config()).prompts.require_prompt_id is True


def test_what_was_written_is_known_from_what_is_a_default() -> None:
    assert written(Config()) == {}
    assert written(Config(observability=Observability(threads=False))) == {"observability.threads": False}
    Path("otel-agent.yaml").write_text("observability: {threads: true}")
    assert written(current()) == {"observability.threads": True}


def test_a_broken_file_is_told_by_its_place() -> None:
    Path("otel-agent.yaml").write_text("x: 1")
    with pytest.raises(InvalidFile) as caught:
        current()
    assert str(caught.value).endswith(
        "otel-agent.yaml:1:1: x: no such key; there are prompts, testing, budgets, observability, prices, alerts"
    )


def test_limits_are_those_of_the_agent_or_of_all() -> None:
    budgets = Budgets(default=Budget(max_steps=9), agents={"a": Budget(max_steps=1)})
    assert [budgets.of(name).max_steps for name in ("a", "b")] == [1, 9]
    try:
        use_budgets(budgets.default, budgets.agents)
        with agent_run("a") as one, agent_run("b") as other, agent_run("c", budget=Budget()) as free:
            found = [run.budget.limits.max_steps for run in (one, other, free)]
    finally:
        use_budgets(Budget(), {})
    assert found == [1, 9, None]
