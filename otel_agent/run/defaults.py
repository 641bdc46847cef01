"""The limits of runs that name none: what the configuration says of all agents, and of one."""

from __future__ import annotations

from collections.abc import Mapping

from otel_agent.budget import Budget

__all__ = ["default_budget", "use_budgets"]


class _Budgets:
    default = Budget()
    agents: Mapping[str, Budget] = {}


def use_budgets(default: Budget, agents: Mapping[str, Budget]) -> None:
    """Puts limits in place for every run that opens from now on and names none.

    Args:
        default: the limits of every such run.
        agents: the limits of such runs of one agent, by its name.
    """
    _Budgets.default, _Budgets.agents = default, agents


def default_budget(agent: str) -> Budget:
    """Gives the limits of a run of an agent that names none."""
    return _Budgets.agents.get(agent, _Budgets.default)
