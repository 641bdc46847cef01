"""Which prompt a run uses: the one it was given, or what the releases of this process say of a name.

Decides for whom a run is: what the run itself was not told, the nearest run above it was. Knows the releases only by
the port `Selector`.
"""

from __future__ import annotations

from opentelemetry.context import Context, create_key, set_value

from otel_agent import config
from otel_agent import context as ctx
from otel_agent.prompts import Audience, Gate, Prompt, PromptInfo, Selector
from otel_agent.prompts.selection import Source, Variant
from otel_agent.run.state import Run
from otel_agent.stop import InvalidSetting
from otel_agent.telemetry.guard import warn_once
from otel_agent.telemetry.instruments import watch_prompts

__all__ = ["choose_prompt", "may_run", "selector_in_use", "use_prompts", "with_prompt", "without_gate"]

FIELD = "agent_run.prompt"
_TESTED = create_key("otel-agent-tested-prompt")
_UNGATED = create_key("otel-agent-ungated")


class _Unread:
    """Stands in the gate's place until the first run asks: then it is known that no `configure()` was first."""

    def lets_through(self, prompt: Prompt, /) -> bool:
        if config.REQUIRE_GOLDEN.get():
            allowed = "false where configure() is not called: it reads which prompts have passed"
            raise InvalidSetting(field=config.REQUIRE_GOLDEN.variable, value=True, allowed=allowed)
        _using.gate = None
        return True


class _Using:
    """The releases of this process."""

    __slots__ = ("environment", "gate", "selector", "testing")

    def __init__(self) -> None:
        self.selector: Selector | None = None
        self.environment: str | None = None
        self.gate: Gate | None = _Unread()
        self.testing = False


_using = _Using()


def use_prompts(selector: Selector | None, *, environment: str | None = None, gate: Gate | None = None) -> None:
    """Makes runs select their prompts by name here.

    Args:
        selector: who knows the releases; None for nobody.
        environment: what this process runs in, such as "production", for canaries of some environments only.
        gate: who knows which prompts have passed; None lets every prompt through.
    """
    _using.selector, _using.environment, _using.gate = selector, environment, gate


def may_run(prompt: Prompt | None, mode: str) -> bool:
    """Tells whether a run may use a prompt; in observe mode each may, and there is one warning for each that may not.

    Raises:
        InvalidSetting: prompts must have passed by the environment, and nobody has read which have.
    """
    gate = _using.gate
    if gate is None or prompt is None or ctx.current_context().get(_UNGATED) or gate.lets_through(prompt):
        return True
    if mode == "observe":
        warn_once(f"gate:{prompt.id}", "%s has not passed its golden tasks; in observe mode the run goes on", prompt.id)
    return mode == "observe"


def selector_in_use() -> Selector | None:
    """Gives who knows the releases of this process, or None."""
    return _using.selector


def with_prompt(prompt: Prompt, context: Context) -> Context:
    """Gives a context in which runs that select a prompt by its name get this text, whatever is released.

    It goes wherever the context goes, also into threads. Only a process that called this ever looks for it.
    """
    _using.testing = True
    return set_value(_TESTED, prompt, context)


def without_gate(context: Context) -> Context:
    """Gives a context in which runs may use a prompt that has not passed, so that it can be tested."""
    return set_value(_UNGATED, True, context)


def choose_prompt(
    asked: Prompt | str | None, own: tuple[str | None, str | None, str | None], parent: Run | None, mode: str
) -> tuple[Prompt | None, Variant | None, Source | None]:
    """Gives the prompt of a run that opens and, where it was selected, as which variant and by what.

    Args:
        asked: a prompt, which is taken as it is; the name of one; or None for no prompt.
        own: conversation, user and tenant as the run was given them.
        parent: the run above.
        mode: "enforce" or "observe".

    Raises:
        InvalidSetting: nothing can be selected under the name. In enforce mode also where every run must have a
            prompt and this one has none, or a prompt is another text than the lock records for its version.
    """
    selector = _using.selector
    if isinstance(asked, Prompt):
        if selector is not None:
            _check(selector, asked, mode)
        return asked, None, None
    if asked is not None:
        if _using.testing and (tested := _tested(asked)) is not None:
            return tested, None, "golden"
        if selector is None:
            raise InvalidSetting(field=FIELD, value=asked, allowed="a Prompt; no prompt is registered under a name")
        return selector.select(asked, _audience(own, parent))
    if config.REQUIRE_PROMPT_ID.get():
        allowed = "given: prompts.require_prompt_id is true"
        _refuse(InvalidSetting(field=FIELD, value=None, allowed=allowed), mode, "require_prompt_id")
    return None, None, None


def _tested(name: str) -> Prompt | None:
    found = ctx.current_context().get(_TESTED)
    return found if isinstance(found, Prompt) and found.name == name else None


def _check(selector: Selector, prompt: Prompt, mode: str) -> None:
    try:
        selector.check(prompt)
    except InvalidSetting as refusal:
        _refuse(refusal, mode, f"pinned:{prompt.name}:{prompt.version}")


def _refuse(refusal: InvalidSetting, mode: str, key: str) -> None:
    if mode != "observe":
        raise refusal
    warn_once(key, "%s; in observe mode the run goes on", refusal)


def _audience(own: tuple[str | None, str | None, str | None], parent: Run | None) -> Audience:
    conversation, user, tenant = own
    while parent is not None and None in (conversation, user, tenant):
        conversation = parent.conversation_id if conversation is None else conversation
        user = parent.user_id if user is None else user
        tenant = parent.tenant if tenant is None else tenant
        parent = parent.parent
    return Audience(conversation, user, tenant, _using.environment)


def _infos() -> list[PromptInfo]:
    return [] if _using.selector is None else list(_using.selector.infos())


watch_prompts(_infos)
