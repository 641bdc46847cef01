"""From the values of a file to a `Config`, and what holds between two of them.

Decides which values, each fine by itself, cannot stand beside each other. Reads no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from otel_agent import checks
from otel_agent.budget import Budget, FinalCall
from otel_agent.config.shapes import WRONG
from otel_agent.config.tasks import Clash, task_clashes, task_of
from otel_agent.config.values import (
    Budgets,
    Config,
    Observability,
    Prices,
    PromptsSection,
    TestingSection,
)
from otel_agent.pricing import Price
from otel_agent.prompts.release import Canary
from otel_agent.stop import InvalidSetting

__all__ = ["build", "clashes", "sound_prompts"]

Values = Mapping[str, Any]


def clashes(values: Values) -> Iterator[Clash]:
    """Gives what cannot stand together; where a value was wrong by itself, nothing is said of it."""
    yield from _prompt_clashes(_part(values, "prompts"))
    yield from task_clashes(_part(_part(values, "testing"), "golden_tasks", ()), ("testing", "golden_tasks"))
    yield from _budget_clashes(_part(values, "budgets"))


def _part(values: Any, name: str, default: Any = MappingProxyType({})) -> Any:
    """Gives a section, or one without anything where there is none, or where it is wrong as a whole."""
    found = values.get(name) if values is not WRONG else None
    return default if found is None or found is WRONG else found


def _prompt_clashes(prompts: Values) -> Iterator[Clash]:
    active = prompts.get("active", ())
    for part in ("active", "rollback"):
        yield from _twice(prompts, part)
    if active is WRONG or WRONG in active:
        return
    versions = dict(_split(ref) for ref in active)
    for number, ref in enumerate(_part(prompts, "rollback", ())):
        if ref is not WRONG and (name := _split(ref)[0]) not in versions:
            yield Clash(("prompts", "rollback", number), f"of a prompt that has an active version; {name} has none")
    for name, canary in _part(prompts, "canary").items():
        if name not in versions:
            yield Clash(("prompts", "canary", name), f"for a prompt that has an active version; {name} has none")
        elif canary is not WRONG:
            yield from _canary_clashes(name, canary, versions[name])


def _split(ref: str) -> tuple[str, str]:
    name, version = ref.split(":")[:2]
    return name, version


def _twice(prompts: Values, part: str) -> Iterator[Clash]:
    seen: dict[str, str] = {}
    for number, ref in enumerate(_part(prompts, part, ())):
        if ref is not WRONG and seen.setdefault(_split(ref)[0], ref) != ref:
            name = _split(ref)[0]
            yield Clash(("prompts", part, number), f"one version of {name}; {seen[name]} is there too")


def _canary_clashes(name: str, canary: Values, active: str) -> Iterator[Clash]:
    if canary.get("version") == active:
        yield Clash(("prompts", "canary", name, "version"), f"another version than the active one, {active}")
    if WRONG not in canary.values() and {"version", "percent"} <= canary.keys():
        try:
            Canary(**canary)
        except InvalidSetting as wrong:
            yield Clash(("prompts", "canary", name, wrong.field.rpartition(".")[2]), wrong.allowed)


def sound_prompts(values: Values) -> Values:
    """Gives the part of the prompts that can be used where something is wrong with a file; half a canary is none."""
    prompts = {name: value for name, value in _part(values, "prompts").items() if value is not WRONG}
    active = _alone(prompts.get("active", ()))
    rollback = _alone(prompts.get("rollback", ()))
    canary = {
        name: each
        for name, each in prompts.get("canary", {}).items()
        if name in active and not _is_wrong(each) and not list(_canary_clashes(name, each, _split(active[name])[1]))
    }
    return prompts | {
        "active": tuple(active.values()),
        "rollback": tuple(ref for name, ref in rollback.items() if name in active),
        "canary": {name: each for name, each in canary.items() if {"version", "percent"} <= each.keys()},
        "texts": {name: _right(each) for name, each in prompts.get("texts", {}).items() if each is not WRONG},
    }


def _alone(refs: tuple[Any, ...]) -> dict[str, str]:
    """Gives the version of each name that has one."""
    found = dict.fromkeys(ref for ref in refs if ref is not WRONG)
    counted = Counter(_split(ref)[0] for ref in found)
    return {_split(ref)[0]: ref for ref in found if counted[_split(ref)[0]] == 1}


def _right(values: Values | None) -> Values:
    return {name: value for name, value in (values or {}).items() if value is not WRONG}


def _budget_clashes(budgets: Values) -> Iterator[Clash]:
    default = {name: value for name, value in budgets.items() if name != "agents"}
    own = [((), default), *((("agents", name), each) for name, each in _part(budgets, "agents").items())]
    for path, each in own:
        if each is WRONG or _is_wrong(default) or _is_wrong(each):
            continue
        try:
            _budget(default, each)
        except InvalidSetting as wrong:
            yield Clash(("budgets", *path, wrong.field.rpartition(".")[2]), wrong.allowed)


def _is_wrong(value: Any) -> bool:
    if checks.is_mapping(value):
        return any(_is_wrong(each) for each in value.values())
    return value is WRONG


def _budget(default: Values, own: Values) -> Budget:
    """Builds a budget from the defaults and what an agent says over them; caps of tools add up, or null lifts all."""
    values = {**default, **own}
    shared, caps = default.get("max_calls_per_tool"), own.get("max_calls_per_tool", {})
    values["max_calls_per_tool"] = {} if caps is None else {**(shared or {}), **caps}
    if values.get("final_call") is not None:
        values["final_call"] = FinalCall(**values["final_call"])
    return Budget(**values)


def build(values: Values, file: Path | None, said: frozenset[str]) -> Config:
    """Builds the configuration from values without a problem.

    Args:
        values: the values of the file, by section.
        file: the file, which relative names start from.
        said: the names of the settings that the file has.
    """
    sections = ("prompts", "testing", "budgets", "observability", "prices", "alerts")
    part = {name: _part(values, name) for name in sections}
    return Config(
        prompts=_prompts(part["prompts"], file),
        testing=_testing(part["testing"], file),
        budgets=_budgets(part["budgets"]),
        observability=Observability(**part["observability"]),
        prices=_prices(part["prices"]),
        alerts=MappingProxyType(dict(part["alerts"])),
        file=file,
        said=said,
    )


def _prompts(values: Values, file: Path | None) -> PromptsSection:
    found = dict(values)
    for name in ("folder", "override"):
        if name in found and file is not None:
            found[name] = file.parent / found[name]
    if "texts" in found:
        found["texts"] = MappingProxyType({name: MappingProxyType(each) for name, each in found["texts"].items()})
    if "canary" in found:
        found["canary"] = MappingProxyType({name: Canary(**each) for name, each in found["canary"].items()})
    return PromptsSection(**found)


def _testing(values: Values, file: Path | None) -> TestingSection:
    found: dict[str, Any] = {
        **values,
        "golden_tasks": tuple(task_of(task, file) for task in values.get("golden_tasks", ())),
    }
    if "results" in found and file is not None:
        found["results"] = file.parent / found["results"]
    return TestingSection(**found)


def _budgets(values: Values) -> Budgets:
    default = {name: value for name, value in values.items() if name != "agents"}
    agents = {name: _budget(default, own) for name, own in _part(values, "agents").items()}
    return Budgets(default=_budget(default, {}), agents=MappingProxyType(agents))


def _prices(values: Values) -> Prices:
    models = {name: Price(**each) for name, each in values.items() if name != "fallback"}
    fallback = values.get("fallback")
    return Prices(models=MappingProxyType(models), fallback=None if fallback is None else Price(**fallback))
