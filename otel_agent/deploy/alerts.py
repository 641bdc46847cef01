"""Every alert, once: how bad it is, and what whoever is woken reads. The expressions stand in `conditions`.

Decides what is worth an alert and what to do then.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from otel_agent.deploy import conditions

__all__ = ["ALERTS", "Alert", "placeholders"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alerting rule and its page.

    Attributes:
        name: as people know it.
        severity: `critical` where somebody must look now, `warning` where it can wait for the day.
        expression: when it fires; `<name>` is a threshold.
        wait: how long that must hold, as Prometheus writes times.
        summary: one line, with the labels of the series.
        meaning: what it says.
        look: what to look at first.
        cause: how to tell a prompt from traffic.
        action: what to do.
        spike: True where `alert_on_token_spike: false` leaves it out.
        about: what its links lead to: an agent and its prompt, all agents and the prompt that spends most, or the
            collector.
    """

    name: str
    severity: Literal["critical", "warning"]
    expression: str
    wait: str
    summary: str
    meaning: str
    look: str
    cause: str
    action: str
    spike: bool = False
    about: Literal["agent", "all agents", "collector"] = "agent"

    @property
    def thresholds(self) -> tuple[str, ...]:
        """Gives the names of the thresholds it uses, each once."""
        return tuple(dict.fromkeys(placeholders(self.expression)))


def placeholders(text: str) -> list[str]:
    """Gives the names of the thresholds that stand in a text."""
    return re.findall(r"<([a-z0-9_]+)>", text)


_WHO = "{{ $labels.gen_ai_agent_name }}"
_WITH = "{{ with $labels.otel_agent_prompt_id }} with {{ . }}{{ end }}"
_THAN = (
    '{{ if eq $labels.against "baseline" }}its baseline prompt{{ else }}'
    "itself one {{ $labels.against }} before{{ end }}"
)
_TIMES = '{{ $value | printf "%.2f" }} x'
_PERCENT = "{{ $value | humanizePercentage }}"
_DOLLARS = '{{ $value | printf "%.2f" }} USD'

_LOOK_AT_MEANS = (
    "The dashboard's tokens, tool calls and cost per run by prompt, and two traces of the prompt id: a dear one and a "
    "usual one."
)
_CAUSE_OF_MEANS = (
    'It compares means per run, which more traffic does not move. `against="baseline"` compares two prompts over the '
    "same "
    "requests: it is the prompt. `hour`, `day` and `week` compare times: if the prompt id changed in between it is the "
    "prompt; if it did not, it is the requests, the model or a tool."
)
_CAUSE_OF_SHARES = (
    "It is a share of runs, which more traffic alone does not move. One prompt id far above the others: the prompt. "
    "All "
    "prompt ids at once: the model, a tool, or other requests."
)
_CAUSE_OF_SPEND = (
    "Compare runs per hour with cost per run on the dashboard. Runs rose and cost per run did not: traffic. Cost per "
    "run rose: "
    "look which prompt id or model it is, and whether AgentCostPerRun or AgentTokenSpike fire too."
)
_CAUSE_OUTSIDE = "Neither: it is what stands between the agents and you."
_ROLL_BACK = "Take the prompt back (roll back to the baseline, or set the canary to 0 %), then read the traces."

ALERTS: tuple[Alert, ...] = (
    Alert(
        name="AgentTokenSpike",
        severity="critical",
        expression=conditions.TOKEN_SPIKE,
        wait="0m",
        summary=f"{_WHO}{_WITH} uses {_TIMES} the tokens per run of {_THAN}",
        meaning="Runs use far more tokens than those of the baseline prompt, or than the agent's own of an hour, a "
        "day or a "
        "week before. A smaller rise is enough where tool calls per run spiked as well.",
        look=_LOOK_AT_MEANS,
        cause=_CAUSE_OF_MEANS,
        action=_ROLL_BACK,
        spike=True,
    ),
    Alert(
        name="AgentToolCallSpike",
        severity="critical",
        expression=conditions.TOOL_CALL_SPIKE,
        wait="0m",
        summary=f"{_WHO}{_WITH} makes {_TIMES} the tool calls per run of {_THAN}",
        meaning="Runs call tools far more often than those of the baseline prompt, or than the agent's own of before. "
        "This is the earliest sign of a prompt that asks for too much.",
        look="The traces of the prompt id: which tool is called again, and with what between the calls.",
        cause=_CAUSE_OF_MEANS,
        action=_ROLL_BACK,
        spike=True,
    ),
    Alert(
        name="AgentTokensPerRequest",
        severity="warning",
        expression=conditions.TOKENS_PER_REQUEST,
        wait="5m",
        summary=f"{_WHO}{_WITH} uses {_TIMES} the tokens per model call of {_THAN}",
        meaning="Each model call has grown: a longer prompt, longer answers, or tool results that are carried along. "
        "Runs "
        "may still look usual where they make fewer calls.",
        look="Input and output tokens of the model calls in two traces, and the length of the prompt's text.",
        cause=_CAUSE_OF_MEANS,
        action="Shorten what is sent with each call; where a new prompt did it, take it back.",
        spike=True,
    ),
    Alert(
        name="AgentCostPerRun",
        severity="warning",
        expression=conditions.COST_SPIKE,
        wait="5m",
        summary=f"a run of {_WHO}{_WITH} costs {_TIMES} one of {_THAN}",
        meaning="A run costs far more than with the baseline prompt, or than before.",
        look="Cost per run by prompt and by model. Tokens that stayed the same point at another model or another "
        "price.",
        cause=_CAUSE_OF_MEANS,
        action="Take the prompt or the model back, or lower the budget of a run (`max_usd`) until it is understood.",
    ),
    Alert(
        name="AgentExtraSpend",
        severity="critical",
        expression=conditions.EXTRA_SPEND,
        wait="5m",
        summary=f"{_WHO}{_WITH} spent {_DOLLARS} in a day above what the same runs cost with {_THAN}",
        meaning="The money that dearer runs have cost beyond what as many runs would have cost before: cheap runs in "
        "large "
        "numbers add up without any of them looking wrong.",
        look="Cost per run of candidate and baseline, and runs per hour.",
        cause="It is computed for the runs there were, so more of them alone add nothing: the runs are dearer.",
        action=_ROLL_BACK,
    ),
    Alert(
        name="AgentPromptChanged",
        severity="warning",
        expression=conditions.UNANNOUNCED,
        wait="0m",
        summary=f"{_PERCENT} of the runs of {_WHO} use {{{{ $labels.otel_agent_prompt_id }}}}, which none used the "
        f"day before",
        meaning="A prompt id that had no run the day before has most of an agent's runs now: it was changed for "
        "everybody at "
        "once, without a canary.",
        look="The history of the prompt (who, when, why), and the deployments of the last hour.",
        cause="It is the prompt: ids change with the text and with nothing else.",
        action="Ask who changed it. Watch tokens, tool calls and stop reasons for an hour, or take it back and roll "
        "it out "
        "as a canary.",
    ),
    Alert(
        name="AgentStopReasonShift",
        severity="warning",
        expression=conditions.STOP_SHIFT,
        wait="5m",
        summary=f"{_WHO} ends with {{{{ $labels.otel_agent_stop_reason }}}} in {_PERCENT} more of its runs than the "
        f"day before",
        meaning="The mix of the ways in which runs end has changed by more than chance explains.",
        look="Stop reasons by prompt on the dashboard, and traces with that stop reason.",
        cause=_CAUSE_OF_SHARES,
        action="Follow the stop reason: limits mean longer runs, errors mean a tool or the model, handoffs mean "
        "questions "
        "that the agent cannot answer.",
    ),
    Alert(
        name="AgentRateLimited",
        severity="warning",
        expression=conditions.RATE_LIMITED,
        wait="5m",
        summary=f"{{{{ $labels.gen_ai_provider_name }}}} turns away {_PERCENT} of the calls of "
        f"{{{{ $labels.gen_ai_request_model }}}}",
        meaning="The provider answers model calls with a rate limit or an exhausted quota.",
        look="Model calls per minute, tokens per minute, and the provider's own page on quotas.",
        cause="More runs: traffic. As many runs with more calls or tokens each: the prompt; AgentToolCallSpike or "
        "AgentTokenSpike then fire too.",
        action="Slow down or spread the callers, ask for a higher quota, or move some to another model.",
        about="all agents",
    ),
    Alert(
        name="AgentBudgetStops",
        severity="critical",
        expression=conditions.BUDGET_STOPS,
        wait="5m",
        summary=f"the budget ends {_PERCENT} of the runs of {_WHO}{_WITH}",
        meaning="Runs reach their limits of steps, tool calls, tokens, seconds or USD instead of an answer.",
        look="Budget stops by limit, and what the last calls of such a run did.",
        cause=_CAUSE_OF_SHARES,
        action="If the prompt changed, take it back. Raise a limit only after traces show that the work is worth it.",
    ),
    Alert(
        name="AgentSpendPerHour",
        severity="critical",
        expression=conditions.SPEND,
        wait="0m",
        summary=f"{_WHO} spent {_DOLLARS} in the last hour",
        meaning="One agent spends more in an hour than it should.",
        look="Spend by prompt and by model, runs per hour, cost per run.",
        cause=_CAUSE_OF_SPEND,
        action="Traffic: decide whether it is wanted, then raise the threshold or slow the callers. Prompt: take it "
        "back.",
    ),
    Alert(
        name="AgentBudgetBurnFast",
        severity="critical",
        expression=conditions.BURN_FAST,
        wait="0m",
        summary=f"all agents spent {_DOLLARS} in the last hour: the monthly budget will not last",
        meaning="A noticeable part of the monthly budget went in one hour, and the last quarter of an hour is no "
        "better.",
        look="Spend by agent and prompt.",
        cause=_CAUSE_OF_SPEND,
        action="Stop what spends most: take the prompt back, lower its budget, or slow its callers.",
        about="all agents",
    ),
    Alert(
        name="AgentBudgetBurnSlow",
        severity="warning",
        expression=conditions.BURN_SLOW,
        wait="15m",
        summary=f"all agents spent {_DOLLARS} in the last day: the monthly budget will not last",
        meaning="The spend of a day, which the last two hours confirm, would use up the monthly budget long before "
        "its end.",
        look="Spend by agent over a week, and cost per run beside runs per day.",
        cause=_CAUSE_OF_SPEND,
        action="Correct the budget to the traffic, or make runs cheaper.",
        about="all agents",
    ),
    Alert(
        name="AgentLatencyHigh",
        severity="warning",
        expression=conditions.LATENCY,
        wait="10m",
        summary=f'a run of {_WHO}{_WITH} takes {{{{ $value | printf "%.0f" }}}} s at the 95th percentile',
        meaning="One run in twenty takes longer than people wait.",
        look="Latency with its exemplars: the slow traces show whether the model, a tool or the number of calls takes "
        "the time.",
        cause="More calls per run: the prompt. As many, but slower: the model or a tool, often under more traffic.",
        action="Follow the slowest span of two traces.",
    ),
    Alert(
        name="AgentErrorRatio",
        severity="critical",
        expression=conditions.ERRORS,
        wait="5m",
        summary=f"{_PERCENT} of the runs of {_WHO}{_WITH} fail",
        meaning="Runs end because the model, a tool, the store or the agent's own code failed.",
        look="The error types of the failed traces.",
        cause=_CAUSE_OF_SHARES,
        action="Follow the error type: the provider's status page, the tool's owner, the last deployment.",
    ),
    Alert(
        name="AgentLoops",
        severity="warning",
        expression=conditions.LOOPS,
        wait="5m",
        summary=f"{_PERCENT} of the runs of {_WHO}{_WITH} go round in circles",
        meaning="Runs are ended because they repeat the same call or make no progress.",
        look="The repeated tool call in two traces, and what the tool answered.",
        cause=_CAUSE_OF_SHARES,
        action="A tool that answers with nothing, or with an error the model cannot read, is the usual reason; else "
        "the prompt.",
    ),
    Alert(
        name="AgentToolDenials",
        severity="warning",
        expression=conditions.DENIALS,
        wait="5m",
        summary=f"{{{{ $labels.gen_ai_tool_name }}}} is denied to {_WHO} "
        f"({{{{ $labels.otel_agent_decision_reason }}}}), "
        '{{ $value | printf "%.1f" }} times a run',
        meaning="A tool is asked for and refused again and again: a cap, an allow-list or an approval stands in the "
        "way.",
        look="The reason in the labels, and what the agent does after a refusal.",
        cause="It is counted per run, so it is not traffic: a prompt asks for what the policy forbids, or the policy "
        "changed.",
        action="Decide which of the two is right, and change the other.",
    ),
    Alert(
        name="AgentKillSwitchOn",
        severity="warning",
        expression=conditions.KILL_SWITCH,
        wait="0m",
        summary="the kill switch is on for {{ $labels.otel_agent_kill_switch_scope }}",
        meaning="Somebody switched agents, tools or writes off. This alert is there so that nobody forgets it.",
        look="Who switched it on, and why: the event of the change.",
        cause="Neither: a person did it.",
        action="Switch it off when its reason is gone.",
        about="all agents",
    ),
    Alert(
        name="AgentRunOpenTooLong",
        severity="warning",
        expression=conditions.OPEN_TOO_LONG,
        wait="2m",
        summary=f"a run of {_WHO} has been open for {{{{ $value | humanizeDuration }}}}",
        meaning="A run has not ended for longer than any should take. It still holds its budget.",
        look="Runs that are open, and the processes of that agent: a call without a timeout is the usual reason.",
        cause="Neither: one run hangs. Many of them after a change of the prompt: that.",
        action="Set `max_seconds`, and timeouts on clients and tools; end the process if it hangs.",
    ),
    Alert(
        name="AgentNoTelemetry",
        severity="critical",
        expression=conditions.SILENT,
        wait="10m",
        summary=f'no run of {_WHO} has ended for an hour; a day before there were {{{{ $value | printf "%.0f" }}}} in '
        f"that hour",
        meaning="An agent that usually runs is silent: it is down, nobody calls it, or its telemetry does not arrive.",
        look="Whether the agent answers, CollectorDown, and the exporter's warnings in the agent's log.",
        cause="No traffic at all looks the same: ask the callers.",
        action="If the agent works, repair the way to the collector; until then no other alert of it can fire.",
    ),
    Alert(
        name="CollectorReceivesNothing",
        severity="critical",
        expression=conditions.COLLECTOR_DEAF,
        wait="5m",
        summary="the collector is up and no process sends it metrics",
        meaning="What was sent in the hour before has stopped altogether.",
        look="The collector's receivers and their addresses, the network, a deployment that changed "
        "`OTEL_EXPORTER_OTLP_ENDPOINT`.",
        cause=_CAUSE_OUTSIDE,
        action="Send something by hand (`otel-agent demo` with the endpoint set) and follow it.",
        about="collector",
    ),
    Alert(
        name="CollectorDown",
        severity="critical",
        expression=conditions.COLLECTOR_DOWN,
        wait="2m",
        summary="the collector does not answer",
        meaning="Prometheus cannot scrape the collector. Alerts on agents cannot fire until it is back.",
        look="The collector's process and its log: out of memory, a wrong configuration, a port in use.",
        cause=_CAUSE_OUTSIDE,
        action="Start it again. Agents go on and are not delayed; what they could not deliver is lost after their "
        "queue is full.",
        about="collector",
    ),
    Alert(
        name="CollectorLosesTelemetry",
        severity="warning",
        expression=conditions.LOST,
        wait="0m",
        summary='the collector lost {{ $value | printf "%.0f" }} items in ten minutes ({{ $labels.what }})',
        meaning="Spans, metric points or log records were refused, could not be sent, or found the queue full, or "
        "deltas could not be added up.",
        look="The name in the labels: refused means memory, send_failed the backend, enqueue_failed the queue, "
        "deltatocumulative more streams than `OTEL_AGENT_MAX_STREAMS`.",
        cause="More traffic fills memory and queues; more spans per run do too, and are the prompt's doing. Streams "
        "grow with prompt ids and agents, not with traffic.",
        action="Repair the backend; give the collector more memory, a larger queue or more streams.",
        about="collector",
    ),
    Alert(
        name="CollectorQueueFilling",
        severity="warning",
        expression=conditions.QUEUE,
        wait="5m",
        summary=f"the queue to {{{{ $labels.exporter }}}} is {_PERCENT} full",
        meaning="The backend takes less than is sent. When the queue is full, telemetry is lost.",
        look="The backend, and the exporter's errors in the collector's log.",
        cause="More traffic, or a slower backend.",
        action="Repair or enlarge the backend before the queue is full.",
        about="collector",
    ),
)
