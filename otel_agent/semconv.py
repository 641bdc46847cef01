"""Every span, attribute, metric and event name, with units and allowed labels; the only place that spells them.

The `gen_ai.*` names follow the GenAI semantic conventions (repository open-telemetry/semantic-conventions-genai, status
development) at commit 024a4f944a12; the package constants of OpenTelemetry are incomplete there. All others are ours.
"""

from __future__ import annotations

from typing import NamedTuple

SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"
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
TOOL_DESCRIPTION = "gen_ai.tool.description"
TOKEN_TYPE = "gen_ai.token.type"

# attributes of the general conventions
ERROR_TYPE = "error.type"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
USER_ID = "user.id"
EXCEPTION_EVENT = "exception"
EXCEPTION_TYPE = "exception.type"
EXCEPTION_MESSAGE = "exception.message"
EXCEPTION_STACKTRACE = "exception.stacktrace"

# our own attributes
RUN_ID = "otel_agent.run.id"
RUN_PARENT_ID = "otel_agent.run.parent_id"
TENANT = "otel_agent.tenant"
PROMPT_ID = "otel_agent.prompt.id"
PROMPT_HASH = "otel_agent.prompt.hash"
PROMPT_VARIANT = "otel_agent.prompt.variant"
PROMPT_EFFECTIVE_HASH = "otel_agent.prompt.effective_hash"
PROMPT_NAME = "otel_agent.prompt.name"
PROMPT_VERSION = "otel_agent.prompt.version"
PROMPT_ROLE = "otel_agent.prompt.role"
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
