"""Files of golden tasks: what they can say, everything that is wrong with one, and what decides about a set."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent import InvalidSetting
from otel_agent.config.file import load
from otel_agent.config.problems import InvalidFile
from otel_agent.config.values import Config, GoldenTask, OutputCheck, TestingSection
from otel_agent.golden.tasks import TaskSet, load_tasks, task_digest
from otel_agent.stop import StopCode


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), "utf-8")
    return path


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidFile) as caught:
        load_tasks([write("tasks.yaml", text)], config=Config())
    return str(caught.value).splitlines()


def task(id: str = "a", **fields: object) -> GoldenTask:
    return GoldenTask(id=id, expect_stop_reason=StopCode.FINISH, **fields)  # type: ignore[arg-type]


WHOLE = """\
agent: app.agents:answer
writes: [refund, mail.send]
tasks:
  - id: refund
    expect_stop_reason: finish
    input: {question: "Where is my order?", days: 3}
    tags: [money]
    repeats: 5
    quorum: 4
    max_steps: 4
    max_tool_calls: 6
    max_tokens: 9000
    max_seconds: 12.5
    max_usd: "0.05"
    max_repeats: 1
    must_call: [kb.search, kb.search, refund]
    may_call: [mail.send]
    must_not_call: [order.delete]
    call_order: in_order
    output:
      contains: [refund, "#17"]
      regex: "[0-9]+ days"
      json_schema: {type: object, required: [answer]}
  - {id: hello, expect_stop_reason: needs_human, input: Hello}
"""


def test_everything_that_a_file_can_say() -> None:
    found = load_tasks([write("tasks.yaml", WHOLE)], config=Config())
    assert (found.agent, found.writes) == ("app.agents:answer", ("refund", "mail.send"))
    assert found.files == (Path("tasks.yaml").absolute(),)
    refund, hello = found.tasks
    assert refund == GoldenTask(
        id="refund",
        expect_stop_reason=StopCode.FINISH,
        input={"question": "Where is my order?", "days": 3},
        tags=("money",),
        repeats=5,
        quorum=4,
        max_steps=4,
        max_tool_calls=6,
        max_tokens=9000,
        max_seconds=12.5,
        max_usd=Decimal("0.05"),
        max_repeats=1,
        must_call=("kb.search", "kb.search", "refund"),
        may_call=("mail.send",),
        must_not_call=("order.delete",),
        call_order="in_order",
        output=OutputCheck(
            contains=("refund", "#17"),
            regex="[0-9]+ days",
            json_schema={"type": "object", "required": ["answer"]},
        ),
    )
    assert hello == GoldenTask(id="hello", expect_stop_reason=StopCode.NEEDS_HUMAN, input="Hello")
    assert (refund.place, hello.place) == (f"{found.files[0]}:4", f"{found.files[0]}:24")
    assert "order?" not in repr(found)


def test_a_bare_list_is_a_file_too() -> None:
    found = load_tasks([write("tasks.yaml", "- {id: a, expect_stop_reason: finish}")], config=Config())
    assert (found.tasks, found.agent, found.writes) == ((task(),), None, ())


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("expect_stop_reason: finish", "1:3: tasks[0].id: is missing"),
        ("id: a", "1:3: tasks[0].expect_stop_reason: is missing"),
        ("max_tokens: -1", "max_tokens = -1: must be a whole number from 0 to"),
        ("max_usd: -0.1", "max_usd = -0.1: must be an amount of USD from 0"),
        ("max_seconds: 0", "max_seconds = 0: must be seconds above 0"),
        ("max_steps: 0", "max_steps = 0: must be a whole number from 1 to"),
        ("max_repeats: 0", "max_repeats = 0: must be a whole number from 1 to"),
        ("repeats: 0", "repeats = 0: must be a whole number from 1 to 1,000"),
        ("repeats: 3, quorum: 4", "quorum = 4: must be at most 3, its repeats"),
        ("max_tool_calls: 0, must_call: [t]", "max_tool_calls = 0: must be at least 1, the tools of must_call"),
        ("max_tool_calls: 1, must_call: [t, t]", "max_tool_calls = 1: must be at least 2, the tools of must_call"),
        ("must_call: [t], must_not_call: [u, t]", "must_not_call: must be without t, which stands in must_call too"),
        ("may_call: [t], must_not_call: [t]", "must_not_call: must be without t, which stands in may_call too"),
        ("call_order: exact", "call_order = 'exact': must be left out: there is no must_call"),
        ("must_call: [t], may_call: [u], call_order: exact", "may_call: must be left out: call_order is exact"),
        ("call_order: loose", "must be one of exact, in_order, any"),
        ("max_token: 1", "no such key (did you mean max_tokens?)"),
        ("input: 3", "input: must be any text, or a mapping of arguments by name"),
        ("input: ''", "input: must be a text of 1 to 100,000 characters"),
        ("output: Your order is on its way.", "no verbatim comparison: prose differs from run to run though it says"),
        ("output: {equals: Your order is on its way.}", "output.equals: no verbatim comparison: prose differs"),
        ("output: {exact: x}", "output.exact: no verbatim comparison: prose differs"),
        ("output: {}", "output: must be at least one of contains, regex, json_schema"),
        ("output: {contains: []}", "output: must be at least one of contains, regex, json_schema"),
        ("output: {regex: 'a(b'}", "output.regex: must be a regular expression: missing ), unterminated subpattern"),
        ("output: {json_schema: 3}", "output.json_schema: must be a JSON Schema"),
        ("output: {json_schema: {type: numbr}}", "output.json_schema: must be a JSON Schema: type: 'numbr' is not"),
        (
            "output: {json_schema: {items: [{$ref: 'https://example.com/s.json'}]}}",
            "$ref 'https://example.com/s.json' is another document, and nothing is fetched",
        ),
        ("output: {json_schema: {const: !!python/name:os.system x}}", "a tag, which begins with !, is not allowed"),
    ],
)
def test_what_is_wrong_is_one_line_with_file_line_and_field(entry: str, problem: str) -> None:
    given_keys = [part.partition(":")[0] for part in entry.split(", ")]
    rest = ["id: a"] * ("id" not in given_keys and entry != "expect_stop_reason: finish")
    rest += ["expect_stop_reason: finish"] * (entry not in ("id: a", "expect_stop_reason: finish"))
    (line,) = problems("- {" + ", ".join([*rest, entry]) + "}")
    assert line.startswith("tasks.yaml:1:")
    assert "[0]." in line
    assert problem in line


def test_without_the_library_a_schema_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who checks an answer by it then says what to install; what would be fetched is refused all the same."""
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    monkeypatch.setitem(sys.modules, "jsonschema.validators", None)
    text = "- {id: a, expect_stop_reason: finish, output: {json_schema: {type: numbr}}}"
    assert load_tasks([write("tasks.yaml", text)], config=Config()).tasks[0].output is not None
    (line,) = problems(text.replace("type: numbr", "$ref: other.json"))
    assert "$ref 'other.json' is another document" in line


def test_no_input_and_no_output_is_quoted() -> None:
    lines = problems("- {id: a, expect_stop_reason: finish, input: [SECRET], output: SECRET}")
    assert len(lines) == 2
    assert "SECRET" not in "".join(lines)


def test_a_mapping_names_its_fields_like_a_list() -> None:
    (line,) = problems("agent: a:b\ntasks:\n  - {id: a, expect_stop_reason: finish, repeats: 1, quorum: 2}\n")
    assert line == "tasks.yaml:3:61: tasks[0].quorum = 2: must be at most 1, its repeats"


def test_a_file_without_tasks_says_so() -> None:
    assert problems("agent: a:b") == ["tasks.yaml:1:1: tasks: is missing"]
    assert problems("# nothing") == ["tasks.yaml:1:1: tasks: is missing"]


@pytest.mark.parametrize("agent", ["answer", "app.py:answer()", "app/agents.py:answer", ":answer", "app:"])
def test_an_agent_is_a_function_of_a_module(agent: str) -> None:
    (line,) = problems(f"agent: '{agent}'\ntasks: []\n")
    assert line == f"tasks.yaml:1:8: agent = {agent!r}: must be a function of a module, such as app.agents:answer"


def test_two_tasks_with_one_id_in_one_file_and_across_files() -> None:
    twice = "- {id: a, expect_stop_reason: finish}\n"
    assert problems(twice * 2) == ["tasks.yaml:2:8: tasks[1].id = 'a': must be an id that no task before it has"]
    first, second = write("first.yaml", twice), write("second.yaml", "# more\n" + twice)
    with pytest.raises(InvalidFile) as caught:
        load_tasks([first, second], config=Config())
    allowed = "must be an id that no task before it has; first.yaml:1 has it"
    assert str(caught.value) == f"second.yaml:2:8: tasks[0].id = 'a': {allowed}"


def test_a_twin_of_a_task_of_the_configuration() -> None:
    write("otel-agent.yaml", "testing: {golden_tasks: [{id: a, expect_stop_reason: finish}], files: more.yaml}")
    write("more.yaml", "- {id: a, expect_stop_reason: finish}")
    with pytest.raises(InvalidFile, match=r"^more.yaml:1:8: .*; otel-agent.yaml:1 has it$"):
        load_tasks()
    with pytest.raises(InvalidSetting, match=r"golden_tasks\[1\].id.*an id that no task before it has"):
        load_tasks(config=Config(testing=TestingSection(golden_tasks=(task(), task()))))


def test_the_configuration_and_its_files() -> None:
    write(
        "otel-agent.yaml",
        """
        testing:
          agent: app:answer
          writes: [refund]
          files: ["golden/*.yaml", golden/b.yaml]
          results: .golden/results.jsonl
          golden_tasks:
            - {id: a, expect_stop_reason: finish}
        """,
    )
    write("golden/c.yaml", "{writes: [mail.send], tasks: [{id: c, expect_stop_reason: finish}]}")
    write("golden/b.yaml", "{agent: 'app:answer', tasks: [{id: b, expect_stop_reason: finish}]}")
    found = load_tasks()
    assert [each.id for each in found.tasks] == ["a", "b", "c"]
    assert [each.name for each in found.files] == ["b.yaml", "c.yaml"]
    assert (found.agent, found.writes) == ("app:answer", ("refund", "mail.send"))
    config = load("otel-agent.yaml")
    assert config.testing.results == Path.cwd() / ".golden" / "results.jsonl"
    assert [each.place for each in config.testing.golden_tasks] == [f"{Path.cwd() / 'otel-agent.yaml'}:8"]
    only = load_tasks([Path("golden/c.yaml")])
    assert [each.id for each in only.tasks] == ["c"]
    assert (only.agent, only.writes) == ("app:answer", ("refund", "mail.send"))


def test_a_name_or_pattern_of_no_file() -> None:
    write("otel-agent.yaml", "testing: {files: 'golden/*.yaml'}")
    with pytest.raises(InvalidSetting, match=r"testing.files = 'golden/\*.yaml': must be files that are there"):
        load_tasks()
    with pytest.raises(InvalidSetting, match=r"golden tasks = 'nowhere.yaml': must be a file that is there"):
        load_tasks([Path("nowhere.yaml")])


def test_two_agents_in_one_set() -> None:
    write("otel-agent.yaml", "testing: {agent: 'app:answer'}")
    path = write("more.yaml", "tasks: []\nagent: app:triage")
    with pytest.raises(InvalidFile, match=r"more.yaml:2:8: agent = 'app:triage': must be app:answer, as testing.agent"):
        load_tasks([path])
    write("otel-agent.yaml", "testing: {files: [more.yaml, third.yaml]}")
    write("third.yaml", "{agent: 'app:answer', tasks: []}")
    with pytest.raises(InvalidFile, match=r"third.yaml:1:9: agent = 'app:answer': .* app:triage, as more.yaml says"):
        load_tasks()


def test_tasks_are_selected_by_id_and_by_tag() -> None:
    found = TaskSet(tasks=(task("a", tags=("kb",)), task("b", tags=("kb", "money")), task("c")))
    assert [each.id for each in found.select().tasks] == ["a", "b", "c"]
    assert [each.id for each in found.select(ids=["c", "a"]).tasks] == ["a", "c"]
    assert [each.id for each in found.select(tags=["money"], ids=["c"]).tasks] == ["b", "c"]
    with pytest.raises(InvalidSetting, match="task = 'bb': must be one of a, b, c"):
        found.select(ids=["bb"])
    with pytest.raises(InvalidSetting, match=r"tag = 'mony': must be one of kb, money \(did you mean money\?\)"):
        found.select(tags=["mony"])


CHANGES = {
    "id": "z",
    "expect_stop_reason": StopCode.HANDOFF,
    "input": "Why?",
    "repeats": 4,
    "quorum": 1,
    "max_steps": 9,
    "max_tool_calls": 9,
    "max_tokens": 9,
    "max_seconds": 9.0,
    "max_usd": Decimal(9),
    "max_repeats": 9,
    "must_call": ("u",),
    "may_call": ("v",),
    "must_not_call": ("w",),
    "call_order": "in_order",
    "output": OutputCheck(regex="x"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_everything_that_decides_is_in_the_digest(field: str) -> None:
    before = TaskSet(tasks=(task(input="How?", must_call=("t",), max_usd=Decimal("0.5")), task("b")), writes=("w",))
    changed = replace(before.tasks[0], **{field: CHANGES[field]})
    assert replace(before, tasks=(changed, before.tasks[1])).digest != before.digest
    assert (task_digest(changed) != task_digest(before.tasks[0])) == (field in ("id", "input"))


def test_what_does_not_decide_is_not_in_the_digest() -> None:
    before = TaskSet(tasks=(task(max_usd=Decimal("0.5")), task("b")), writes=("w", "v"))
    same = task(max_usd=Decimal("0.50"), tags=("kb",), line=7, file=Path("x.yaml"))
    after = TaskSet(tasks=(task("b"), same), writes=("v", "w"), agent="a:b", files=(Path("x.yaml"),))
    assert after.digest == before.digest
    assert len(before.digest) == 12
    assert replace(before, writes=("w",)).digest != before.digest


@pytest.mark.parametrize("field", [each for each in GoldenTask.__dataclass_fields__ if each not in CHANGES])
def test_no_field_is_forgotten(field: str) -> None:
    assert field in ("tags", "file", "line")


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_nothing_but_an_invalid_file_comes_of_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(data)
    try:
        assert isinstance(load_tasks([path], config=Config()), TaskSet)
    except InvalidFile as wrong:
        assert wrong.problems  # noqa: PT017 - either is fine
