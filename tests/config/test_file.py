"""`otel-agent.yaml`: what it says, and every problem of it at once, with line, column and what is allowed."""

from __future__ import annotations

import pickle
import textwrap
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otel_agent import Budget, FinalCall, InvalidSetting, Price
from otel_agent.config.file import load, loads
from otel_agent.config.problems import InvalidFile
from otel_agent.config.values import Config, GoldenTask, Observability, OutputCheck, PromptsSection
from otel_agent.prompts import Canary
from otel_agent.stop import StopCode

FROM_THE_ISSUE = """
prompts: {active: "support:v13", rollback: "support:v12", require_prompt_id: true}
testing: {golden_tasks: [{id: "kb_lookup", expect_stop_reason: "finish", max_tool_calls: 6, max_tokens: 9000}]}
budgets: {max_steps: 25, max_tool_calls: 12, max_seconds: 60}
observability: {log_prompt_id: true, alert_on_token_spike: true}
"""


def read(text: str) -> Config:
    return loads(textwrap.dedent(text).encode())


def problems(text: str) -> list[str]:
    """What is said of a file, a line each, without its name."""
    with pytest.raises(InvalidFile) as caught:
        read(text)
    return str(caught.value).replace("otel-agent.yaml:", "").splitlines()


def test_the_file_of_few_lines_loads_as_it_stands() -> None:
    found = read(FROM_THE_ISSUE)
    assert found.prompts == PromptsSection(active=("support:v13",), rollback=("support:v12",), require_prompt_id=True)
    (task,) = found.testing.golden_tasks
    assert task == GoldenTask(id="kb_lookup", expect_stop_reason=StopCode.FINISH, max_tool_calls=6, max_tokens=9000)
    assert isinstance(task.expect_stop_reason, StopCode)
    assert found.budgets.default == Budget(max_steps=25, max_tool_calls=12, max_seconds=60)
    assert found.budgets.of("any agent") == found.budgets.default
    assert found.observability == Observability(log_prompt_id=True, alert_on_token_spike=True)


@pytest.mark.parametrize("text", ["", "# nothing\n", "prompts:\nbudgets: {}\nprices: null\n", "---\n...\n", "\ufeff"])
def test_a_file_that_says_nothing_is_all_defaults(text: str) -> None:
    assert loads(text.encode()) == Config()


def test_everything_that_a_file_can_say(tmp_path: Path) -> None:
    file = tmp_path / "agents.yaml"
    file.write_text(
        """
prompts:
  active: [support:v13, "triage:2"]
  rollback: support:v12
  folder: texts
  override: /var/lib/override.json
  texts: {support: {v13: "Answer.\\nCite.", v12: Answer.}, triage: {2: Sort it.}}
  canary: {support: {version: v14, percent: 2.5, by: user, salt: s, tenants: [acme], environments: [prod]}}
  source: openfeature
testing:
  golden_tasks:
    - id: a
      expect_stop_reason: max_tool_calls
      input: "How?\\nWhy?"
      tags: [kb]
      repeats: 3
      quorum: 2
      max_steps: 4
      max_seconds: 1.5
      max_usd: 0.10
      max_repeats: 1
      must_call: [kb.search]
      must_not_call: [refund]
      call_order: in_order
      may_call: [refund.ask]
      output: {contains: How, regex: "^W", json_schema: {type: string}}
    - {id: b, expect_stop_reason: finish, input: {question: Why, days: [1, 2.5, null]}}
  agent: app.agents:answer
  files: golden/*.yaml
  writes: [refund, refund.ask]
  results: results.jsonl
budgets:
  max_tokens: 9_000
  max_usd: "0.50"
  warn_at: 0.5
  default_output_tokens: 100
  max_calls_per_tool: {kb.search: 6, refund: 1}
  final_call: {tokens: 50, usd: 0.01}
  agents:
    free: {max_calls_per_tool: null}
    same: {max_calls_per_tool: {}}
    triage: {max_tokens: null, max_steps: 3, max_calls_per_tool: {kb.search: 2}, final_call: null}
prices:
  our-model: {input: 0.25, output: "2", cached_input: 0.1, per_call: null}
  fallback: {input: 5, output: 20}
observability: {console: auto, threads: false, mode: observe, capture_exceptions: type, hash_key: k€y}
alerts: {token_spike: 1.5}
""".replace("9_000", "9000"),
        "utf-8",
    )
    found = load(file)
    assert found.file == file
    assert found.folder == tmp_path
    assert found.prompts.active == ("support:v13", "triage:2")
    assert (found.prompts.folder, found.prompts.override) == (tmp_path / "texts", Path("/var/lib/override.json"))
    assert found.prompts.texts["triage"] == {"2": "Sort it."}
    assert found.prompts.texts["support"]["v13"] == "Answer.\nCite."
    assert found.prompts.canary["support"] == Canary(
        version="v14", percent="2.5", by="user", salt="s", tenants=("acme",), environments=("prod",)
    )
    task, other = found.testing.golden_tasks
    assert (task.may_call, task.place) == (("refund.ask",), f"{file}:12")
    assert task.output == OutputCheck(contains=("How",), regex="^W", json_schema={"type": "string"})
    assert other.input == {"question": "Why", "days": [1, 2.5, None]}
    testing = found.testing
    assert (testing.agent, testing.files) == ("app.agents:answer", ("golden/*.yaml",))
    assert (testing.writes, testing.results) == (("refund", "refund.ask"), tmp_path / "results.jsonl")
    assert (task.input, task.tags, task.max_usd, task.call_order) == ("How?\nWhy?", ("kb",), Decimal("0.1"), "in_order")
    assert found.budgets.default == Budget(
        max_tokens=9000,
        max_usd="0.50",
        warn_at=0.5,
        default_output_tokens=100,
        max_calls_per_tool={"kb.search": 6, "refund": 1},
        final_call=FinalCall(tokens=50, usd="0.01"),
    )
    assert found.budgets.of("triage") == Budget(
        max_steps=3,
        max_usd="0.50",
        warn_at=0.5,
        default_output_tokens=100,
        max_calls_per_tool={"kb.search": 2, "refund": 1},
    )
    assert found.budgets.of("free").max_calls_per_tool == {}
    assert found.budgets.of("same") == found.budgets.default
    assert found.prices.models == {"our-model": Price(input="0.25", output=2, cached_input="0.1")}
    assert found.prices.fallback == Price(input=5, output=20)
    assert found.observability == Observability(
        threads=False, mode="observe", capture_exceptions="type", hash_key="k€y".encode()
    )
    assert found.alerts == {"token_spike": 1.5}
    assert "Answer" not in repr(found)
    assert "k€y" not in repr(found)


def test_every_problem_is_told_at_once_with_its_place() -> None:
    assert problems(
        """\
        prompts:
          activ: support:v13
          require_prompt_id: "yes"
        budgets:
          max_steps: many
          max_seconds: 0
          max_steps: 25
          agents: {triage: {max_tokens: -1}}
        max_tool_calls: 3
        testing:
          golden_tasks:
            - max_tokens: 5
            - {id: a, expect_stop_reason: finished}
        prices: {our-model: {input: 1}}
        policy: {}
        alerts: [token_spike]
        """
    ) == [
        "2:3: prompts.activ: no such key (did you mean active?)",
        "3:22: prompts.require_prompt_id = 'yes': must be true or false",
        "5:14: budgets.max_steps = 'many': must be a whole number from 0 to 1,000,000,000,000",
        "6:16: budgets.max_seconds = 0: must be seconds above 0, at most a year, or a timedelta",
        "7:3: budgets.max_steps: stands here twice, first in line 5",
        "8:33: budgets.agents.triage.max_tokens = -1: must be a whole number from 0 to 1,000,000,000,000",
        "9:1: max_tool_calls: no such key (did you mean budgets.max_tool_calls?)",
        "12:7: testing.golden_tasks[0].expect_stop_reason: is missing",
        "12:7: testing.golden_tasks[0].id: is missing",
        "13:35: testing.golden_tasks[1].expect_stop_reason = 'finished': must be one of "
        + ", ".join(StopCode)
        + " (did you mean finish?)",
        "14:21: prices.our-model.output: is missing",
        "15:1: policy: this section comes with a later version; leave it out",
        "16:9: alerts: must be a mapping: <name>",
    ]


@pytest.mark.parametrize("section", ["policy", "kill_switch", "stores"])
def test_sections_to_come_are_told_apart_from_mistakes(section: str) -> None:
    assert problems(f"{section}: {{}}") == [f"1:1: {section}: this section comes with a later version; leave it out"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("prompts: {active: 13}", "1:19: prompts.active = 13: must be a prompt's name and version"),
        ("prompts: {active: s:1, canary: {s: {version: 14, percent: 5}}}", "put it into quotes"),
        (
            "prompts: {active: [a:1, a:2]}",
            "1:25: prompts.active[1] = 'a:2': must be one version of a; a:1 is there too",
        ),
        ("prompts: {active: a:1, rollback: b:1}", "b has none"),
        ("prompts: {active: a:1, canary: {a: {version: '1', percent: 5}}}", "another version than the active one, 1"),
        ("prompts: {active: a:1, canary: {a: {version: v2, percent: 0.001}}}", "in steps of 0.01"),
        ("prompts: {active: a:1, canary: {b: {version: v2, percent: 1}}}", "b has none"),
        ("prompts: {canary: {'a:b': {version: v2, percent: 1}}}", "the name must be a text"),
        ("budgets: {max_tokens: 10, final_call: {tokens: 11}}", "budgets.max_tokens = 10: must be at least 11"),
        ("budgets: {final_call: {tokens: 11}, agents: {a: {max_tokens: 1}}}", "budgets.agents.a.max_tokens"),
        ("budgets: {max_usd: 1e-12}", "0, or at least 0.000000001 USD"),
        ("budgets: {max_usd: .nan}", "an amount of USD"),
        ("testing: {golden_tasks: {}}", "must be a list of tasks"),
        (
            "testing: {golden_tasks: [{id: a, expect_stop_reason: finish}, {id: a, expect_stop_reason: finish}]}",
            "1:68: testing.golden_tasks[1].id = 'a': must be an id that no task before it has",
        ),
        ("testing: {golden_tasks: [{id: a, expect_stop_reason: finish, repeats: 2, quorum: 3}]}", "at most 2"),
        (
            "testing: {golden_tasks: [{id: a, expect_stop_reason: finish, must_call: [t], must_not_call: [t]}]}",
            "without t, which stands in must_call too",
        ),
        (
            "testing: {golden_tasks: [{id: a, expect_stop_reason: finish, must_call: [t, u], max_tool_calls: 1}]}",
            "at least 2, the tools of must_call",
        ),
        ("testing: {golden_tasks: [{id: a, expect_stop_reason: finish, call_order: exact}]}", "there is no must_call"),
        (
            "testing: {golden_tasks: [{id: a, expect_stop_reason: finish, output: Hello}]}",
            "prose differs from run to run",
        ),
        (
            "testing: {golden_tasks: [{id: a, expect_stop_reason: finish, input: [a]}]}",
            "a mapping of arguments by name",
        ),
        ("testing: {agent: answer}", "testing.agent = 'answer': must be a function of a module, such as"),
        ("testing: {files: [3]}", "testing.files[0] = 3: must be a text"),
        ("testing: {writes: refund}", "testing.writes: must be a list of names of tools"),
        ("testing: {results: ''}", "testing.results = '': must be a text"),
        ("observability: {console: perhaps}", "true or false, or auto"),
        ("observability: {mode: obseve}", "did you mean observe?"),
        ("[]", "1:1: must be a mapping"),
        ("? [a]\n: b", "1:3: a key must be a plain text"),
        (
            "budgets: {max_steps: !!python/object/apply:os.system [ls]}",
            "a tag, which begins with !, is not allowed here",
        ),
        ("budgets: {max_steps: !!int x}", "the tag !!int is not allowed here"),
        ("budgets: !mine {}", "a tag, which begins with !, is not allowed here"),
        ("budgets: {agents: {a: &a {max_steps: 1}, b: {<<: *a}}}", "the merge key << is not read: write out what"),
        ("prices: {m: &p {input: 1, output: 2}, <<: *p}", "prices: the merge key << is not read: write out what"),
        ('prompts: {texts: {support: {v1: "\\ud800"}}}', "1:33: prompts.texts.support.v1: must be a text of 1 to"),
        ("prompts: {active: 'a:v1', canary: {a: {version: v2, percent: 12.345}}}", "in steps of 0.01"),
        ("prompts: {active: 'a:v1', canary: {a: {version: v2, percent: .nan}}}", "a number from 0 to 100"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(text: str, problem: str) -> None:
    assert problem in problems(text)[0]


def test_where_a_value_is_wrong_by_itself_nothing_is_said_of_it_beside_others() -> None:
    text = "prompts: {active: 13, rollback: b:1}\nbudgets: {max_tokens: x, final_call: {tokens: 5}}"
    assert [line.partition(" ")[0] for line in problems(text)] == ["1:19:", "2:23:"]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"budgets: {max_steps: 1", "1:23: not YAML: expected ',' or '}', but got '<stream end>'"),
        (b"a: 1\n\tb: 2", "2:1: not YAML: found character '\\t' that cannot start any token"),
        (b"a: *nowhere", "1:4: not YAML: found undefined alias; a text that begins so must be in quotes"),
        (b"budgets: {}\nprompts: \xff", "2:10: the byte 0xff is not UTF-8"),
        (b"a: b\nc: \x00", "2:4: the character U+0000 is not allowed in YAML"),
        (b"a: 1\n---\nb: 2", "2:1: not YAML: but found another document"),
        (b"[" * 5000, "1:51: values are nested more than 50 deep"),
        (b"#" * 2_000_001, "1:1: the file has more than 2,000,000 bytes; long prompts go into the prompts folder"),
        (b"a: &a [*a]", "1:4: more than 100,000 values, with what anchors repeat"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_place(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        loads(data)
    assert str(caught.value) == f"otel-agent.yaml:{problem}"


def test_anchors_that_multiply_are_refused_before_they_fill_the_memory() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(InvalidFile, match="more than 100,000 values"):
        loads("\n".join(lines).encode())


def test_an_anchor_is_fine() -> None:
    found = read("budgets: {agents: {a: &same {max_steps: 3}, b: *same}}")
    assert found.budgets.of("a") == found.budgets.of("b") == Budget(max_steps=3)


def test_yaml_means_what_editors_take_it_for() -> None:
    found = read("prompts: {texts: {s: {on: yes, 1.10: no, null: 2026-01-01}}}\nbudgets: {max_steps: 0x10}")
    assert found.prompts.texts["s"] == {"on": "yes", "1.10": "no", "null": "2026-01-01"}
    assert found.budgets.default.max_steps == 16


@pytest.mark.parametrize(
    "text",
    [
        "prompts: {texts: 'SECRET'}",
        "prompts: {texts: {support: 'SECRET'}}",
        "prompts: {texts: {support: {v1: [SECRET]}}}",
        "prompts: SECRET",
        "observability: {hash_key: [SECRET]}",
        "observability: {hash_kye: SECRET}",
        "testing: {golden_tasks: [{id: a, expect_stop_reason: finish, input: [SECRET]}]}",
        "SECRET",
        'prompts: {texts: {support: {v1: "SECRET \\q"}}}',
    ],
)
def test_no_prompt_and_no_key_is_quoted(text: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        read(text)
    assert "SECRET" not in str(caught.value)
    assert "SECRET" not in repr(caught.value)


def test_the_error_has_its_problems_as_values_and_survives_pickling() -> None:
    with pytest.raises(InvalidSetting) as caught:
        loads(b"budgets: {max_steps: many}\nx: 1", shown="agents.yaml")
    error = pickle.loads(pickle.dumps(caught.value))
    assert isinstance(error, InvalidFile)
    assert (error.file, error.field, error.value) == ("agents.yaml", "budgets.max_steps", "'many'")
    assert [(each.line, each.column, each.kind) for each in error.problems] == [(1, 22, "value"), (2, 1, "key")]
    assert str(error) == str(caught.value)
    assert error.problems[0].as_json()["field"] == "budgets.max_steps"


def test_of_very_many_problems_the_first_are_told() -> None:
    lines = problems("\n".join(f"k{n}: 1" for n in range(60)))
    assert len(lines) == 51
    assert lines[-1] == "and 10 more"


@pytest.mark.parametrize(("name", "allowed"), [("missing.yaml", "a file that is there"), ("", "a plain file")])
def test_a_file_that_is_not_there_or_none(name: str, allowed: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match=allowed):
        load(tmp_path / name)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_nothing_but_an_invalid_file_comes_of_any_bytes(data: bytes) -> None:
    try:
        assert isinstance(loads(data), Config)
    except InvalidFile as wrong:
        assert wrong.problems  # noqa: PT017 - either is fine


PIECES = ["a", "- ", ": ", "\n", "  ", "{", "}", "[", "]", "&x ", "*x", "!t ", "'", '"', "|", "budgets", "max_steps"]


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES)))
def test_nor_of_what_looks_like_yaml(parts: list[str]) -> None:
    try:
        assert isinstance(loads("".join(parts).encode()), Config)
    except InvalidFile as wrong:
        assert all(each.line >= 1 and each.column >= 1 for each in wrong.problems)  # noqa: PT017


@pytest.mark.parametrize(
    "value", ["*hunter2", "!hunter2", "!hunter2 x", "!e!hunter2 x", "!!hunter2 x", "&a 1, b: &a 1"]
)
def test_a_secret_that_yaml_takes_for_something_else_is_not_quoted(value: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        loads(f"observability: {{hash_key: {value.replace('&a', '&hunter2')}}}".encode())
    assert "hunter2" not in str(caught.value)
