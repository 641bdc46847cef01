"""Every span, attribute, metric and event name, with units and allowed labels; the only place that spells them.

The `gen_ai.*` names follow the GenAI semantic conventions (repository open-telemetry/semantic-conventions-genai, status
development) at commit 024a4f944a12; the package constants of OpenTelemetry are incomplete there. All others are ours.
"""

from __future__ import annotations

from typing import NamedTuple

SCOPE = "otel_agent"

# operations
OPERATION_RUN = "invoke_agent"
OPERATION_CHAT = "chat"
OPERATION_TOOL = "execute_tool"
TOOL_TYPE_FUNCTION = "function"
STEP_UNIT = "llm_call"

# attributes of the GenAI conventions
OPERATION = "gen_ai.operation.name"
AGENT_NAME = "gen_ai.agent.name"
AGENT_DESCRIPTION = "gen_ai.agent.description"
CONVERSATION_ID = "gen_ai.conversation.id"
GEN_AI_PROMPT_NAME = "gen_ai.prompt.name"
GEN_AI_PROMPT_VERSION = "gen_ai.prompt.version"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_PREFIX = "gen_ai.request."
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL_ID = "gen_ai.tool.call.id"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_DESCRIPTION = "gen_ai.tool.description"
TOKEN_TYPE = "gen_ai.token.type"

# attributes of the general conventions
ERROR_TYPE = "error.type"
ENVIRONMENT = "deployment.environment.name"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
EXCEPTION_EVENT = "exception"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"

# our own attributes
RUN_ID = "otel_agent.run.id"
RUN_PARENT_ID = "otel_agent.run.parent_id"
PROMPT_ID = "otel_agent.prompt.id"
PROMPT_HASH = "otel_agent.prompt.hash"
PROMPT_VARIANT = "otel_agent.prompt.variant"
PROMPT_SOURCE = "otel_agent.prompt.source"
PROMPT_EFFECTIVE_HASH = "otel_agent.prompt.effective_hash"
PROMPT_NAME = "otel_agent.prompt.name"
PROMPT_VERSION = "otel_agent.prompt.version"
PROMPT_ROLE = "otel_agent.prompt.role"
EVENT_PROMPT_BEFORE = "otel_agent.prompt.previous_id"
EVENT_PERCENT = "otel_agent.prompt.percent"
TASK_ID = "otel_agent.task.id"
BUDGET_UNIT_OF_STEP = "otel_agent.budget.unit_of_step"
BUDGET_MODE = "otel_agent.budget.mode"
STOP_REASON = "otel_agent.stop_reason"
STOP_DETAIL = "otel_agent.stop_detail"
COST_USD = "otel_agent.cost.usd"
COST_SOURCE = "otel_agent.cost.source"
USAGE_COMPLETE = "otel_agent.usage.complete"
USAGE_ESTIMATED = "otel_agent.usage.estimated"
USAGE_OVERRUN = "otel_agent.usage.overrun"
STEP = "otel_agent.step"
DECISION = "otel_agent.decision"
DECISION_REASON = "otel_agent.decision.reason"
LIMIT = "otel_agent.limit"
LIMIT_USED = "otel_agent.limit.used"
TOOL_ARGS_HASH = "otel_agent.tool.args_hash"
TOOL_CALLS = "otel_agent.tool.calls"
TOOL_LIMIT = "otel_agent.tool.limit"
KILL_SWITCH_SCOPE = "otel_agent.kill_switch.scope"
EVENT_CODE = "otel_agent.code"
EVENT_ACTOR = "otel_agent.actor"
EVENT_WHY = "otel_agent.why"
EVENT_LIMIT_OLD = "otel_agent.limit.old"
EVENT_LIMIT_NEW = "otel_agent.limit.new"


class BudgetKeys(NamedTuple):
    """The two attributes of one dimension of a budget."""

    limit: str
    used: str


BUDGET: dict[str, BudgetKeys] = {
    dimension: BudgetKeys(f"otel_agent.budget.{dimension}.limit", f"otel_agent.budget.{dimension}.used")
    for dimension in ("steps", "tool_calls", "seconds", "tokens", "usd")
}

# events
RUN_STARTED = "otel_agent.run.started"
RUN_FINISHED = "otel_agent.run.finished"
BUDGET_EXCEEDED = "otel_agent.budget.exceeded"
BUDGET_WARNING = "otel_agent.budget.warning"
BUDGET_CHANGED = "otel_agent.budget.changed"
POLICY_DECISION = "otel_agent.policy.decision"
KILL_SWITCH_CHANGED = "otel_agent.kill_switch.changed"
PROMPT_ACTIVATED = "otel_agent.prompt.activated"
PROMPT_ROLLED_BACK = "otel_agent.prompt.rolled_back"
PROMPT_ROLLOUT_CHANGED = "otel_agent.prompt.rollout_changed"


class Metric(NamedTuple):
    """One instrument: name, unit, what it measures, its bucket boundaries (histograms), and its labels."""

    name: str
    unit: str
    about: str
    labels: tuple[str, ...]
    boundaries: tuple[float, ...] = ()


def _steps(first: float, last: float, factor: float) -> tuple[float, ...]:
    """Boundaries from `first` to at least `last`, each the one before times at most `factor`, rounded to two digits."""
    found = [first]
    while found[-1] < last:
        found.append(float(f"{found[-1] * factor:.2g}"))
    return tuple(found)


def _doubled(first: float, times: int) -> tuple[float, ...]:
    return tuple(round(first * 2**n, 2) for n in range(times))


_RUN = (AGENT_NAME, PROMPT_ID, PROMPT_VARIANT)
_TOKENS = (*range(1), *(int(b) for b in _steps(100, 2_000_000, 1.4)))
_COUNTS = (
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    14,
    16,
    19,
    22,
    26,
    31,
    37,
    45,
    55,
    68,
    85,
    110,
    140,
    200,
    300,
    400,
)
_USD = (0.0, *_steps(0.0001, 100, 1.45))
_SECONDS = (0.0, *_steps(0.01, 3600, 1.45))
_CALL_SECONDS = _doubled(0.01, 14)
_AGENT_SECONDS = _doubled(0.1, 13)
_CALLS = _doubled(1, 8)
_INFERENCE = (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT)

RUNS = Metric("otel_agent.runs", "{run}", "Runs that ended", (*_RUN, STOP_REASON))
RUNS_ACTIVE = Metric("otel_agent.runs.active", "{run}", "Runs that are open", (AGENT_NAME,))
RUN_OLDEST_AGE = Metric("otel_agent.run.oldest_age", "s", "Age of the oldest open run", (AGENT_NAME,))
RUN_DURATION = Metric("otel_agent.run.duration", "s", "How long a run took", _RUN, _SECONDS)
RUN_TOKENS = Metric("otel_agent.run.tokens", "{token}", "Tokens of a run and the runs under it", _RUN, _TOKENS)
RUN_STEPS = Metric("otel_agent.run.steps", "{step}", "LLM calls of a run and the runs under it", _RUN, _COUNTS)
RUN_TOOL_CALLS = Metric("otel_agent.run.tool_calls", "{call}", "Tool calls of a run and those under it", _RUN, _COUNTS)
RUN_COST = Metric("otel_agent.run.cost", "{USD}", "Cost of a run and the runs under it", _RUN, _USD)
COST = Metric("otel_agent.cost", "{USD}", "What calls cost", (AGENT_NAME, PROMPT_ID, REQUEST_MODEL))
BUDGET_UTILIZATION = Metric(
    "otel_agent.budget.utilization",
    "",
    "Share of a limit that a run used",
    (AGENT_NAME, LIMIT),
    (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.25, 1.5, 2.0),
)
BUDGET_EXCEEDED_COUNT = Metric(BUDGET_EXCEEDED, "{run}", "Runs that passed a limit", (AGENT_NAME, PROMPT_ID, LIMIT))
BUDGET_WARNINGS = Metric("otel_agent.budget.warnings", "{run}", "Runs near a limit", (AGENT_NAME, PROMPT_ID, LIMIT))
TOOL_DENIALS = Metric(
    "otel_agent.tool.denials", "{call}", "Tool calls refused", (AGENT_NAME, TOOL_NAME, DECISION_REASON)
)
KILL_SWITCH_ACTIVE = Metric("otel_agent.kill_switch.active", "", "1 while the switch is on", (KILL_SWITCH_SCOPE,))
PROMPT_INFO = Metric(
    "otel_agent.prompt.info", "", "1 for each prompt in use", (PROMPT_NAME, PROMPT_ID, PROMPT_VERSION, PROMPT_ROLE)
)
SPAN_RUNS = Metric(
    "otel_agent.span.runs",
    "{run}",
    "Runs, counted from their spans by the collector",
    (AGENT_NAME, PROMPT_ID, STOP_REASON),
)
SPAN_TOKENS = Metric(
    "otel_agent.span.tokens",
    "{token}",
    "Tokens on spans of other instrumentations, added up by the collector",
    (OPERATION, PROVIDER, REQUEST_MODEL, TOKEN_TYPE),
)
AGENT_DURATION = Metric(
    "gen_ai.invoke_agent.duration", "s", "How long an agent took", (AGENT_NAME, ERROR_TYPE), _AGENT_SECONDS
)
AGENT_INFERENCE_CALLS = Metric(
    "gen_ai.invoke_agent.inference_calls", "{inference_call}", "Model calls of an agent", (AGENT_NAME,), _CALLS
)
AGENT_TOOL_CALLS = Metric(
    "gen_ai.invoke_agent.tool_calls", "{tool_call}", "Tool calls of an agent", (AGENT_NAME,), _CALLS
)
TOOL_DURATION = Metric(
    "gen_ai.execute_tool.duration",
    "s",
    "How long a tool took",
    (AGENT_NAME, TOOL_NAME, TOOL_TYPE, ERROR_TYPE),
    _CALL_SECONDS,
)
INFERENCE_DURATION = Metric(
    "gen_ai.client.inference.duration", "s", "How long a model call took", (*_INFERENCE, ERROR_TYPE), _CALL_SECONDS
)
USAGE_COUNTS = {
    key: Metric(key.replace("gen_ai.", "gen_ai.client.inference.", 1), "{token}", about, _INFERENCE)
    for key, about in (
        (INPUT_TOKENS, "Input tokens as billed"),
        (OUTPUT_TOKENS, "Output tokens as billed"),
        (CACHE_READ_TOKENS, "Input tokens read from a cache"),
        (CACHE_WRITE_TOKENS, "Input tokens written to a cache"),
        (REASONING_TOKENS, "Output tokens spent on reasoning"),
    )
}
