"""The agent is found by its name, or one line says why not."""

from __future__ import annotations

import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from otel_agent import InvalidSetting, Prompt
from otel_agent.config.values import Config, PromptsSection
from otel_agent.golden.agents import find_prompt, load_agent
from otel_agent.run.choice import use_prompts
from otel_agent.stores.releases import ReleaseSelector
from otel_agent.stores.sources import Sources


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        del sys.modules[name]


BOT = """
class Bot:
    def answer(self, q): return q + "!"
BOT = Bot()
def plain(q): return q
"""


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_modules_of_the_working_directory_and_attributes_are_found() -> None:
    write(
        "my_pack/bot.py", "class Bot:\n    def answer(self, q): return q + '!'\nBOT = Bot()\ndef plain(q): return q\n"
    )
    assert load_agent("my_pack.bot:plain")("a") == "a"
    assert load_agent("my_pack.bot:BOT.answer")("a") == "a!"


@pytest.mark.parametrize("ref", ["", "bot", "bot:", ":answer", "a b:c", "bot.py:", "bot:an-swer", "../bot:answer"])
def test_what_is_no_name_is_told_the_shape(ref: str) -> None:
    with pytest.raises(InvalidSetting, match=r"module:function, such as support\.bot:answer"):
        load_agent(ref)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import not_there_at_all", r"ModuleNotFoundError: No module named 'not_there_at_all' \(bad_bot.py, line 1\)"),
        ("x = 1\nraise RuntimeError('no\\nkey')", r"RuntimeError: no key \(bad_bot.py, line 2\)"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
    ],
)
def test_an_import_that_fails_is_one_line_with_the_reason(text: str, said: str) -> None:
    write("bad_bot.py", text)
    with pytest.raises(InvalidSetting, match=said) as raised:
        load_agent("bad_bot:answer")
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is not None


def test_a_function_that_is_not_there_is_answered_with_the_nearest() -> None:
    write("near_bot.py", "def answer(q): return q\nPLACE = 3\n")
    with pytest.raises(InvalidSetting, match=r"no answr in it \(did you mean answer\?\)"):
        load_agent("near_bot:answr")
    with pytest.raises(InvalidSetting, match="something to call; this is of the class int"):
        load_agent("near_bot:PLACE")


V1 = Prompt("support", "v1", "one")


def test_a_prompt_is_found_among_those_of_the_process_else_of_the_configuration() -> None:
    config = Config(prompts=PromptsSection(texts={"support": {"v2": "two"}}))
    use_prompts(ReleaseSelector(Sources(prompts=(V1,))))
    try:
        assert find_prompt("support:v1", config) == V1
        assert find_prompt("support:v2", config).text == "two"
        with pytest.raises(InvalidSetting, match="support:v1"):
            find_prompt("support:v3", config)
    finally:
        use_prompts(None)
    with pytest.raises(InvalidSetting, match="support:v2"):
        find_prompt("support:v1", config)
