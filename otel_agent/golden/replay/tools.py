"""The tool boundary: what of a tool's call is its key, and which of its results a recording can hold."""

from __future__ import annotations

import builtins
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from otel_agent import hashing, redaction
from otel_agent.run.drive import kind_of

__all__ = ["ReplayedError", "holds", "key_of", "raised", "unplayable"]

_OBJECT = re.compile(rb'"([\w<>]+(?:\.[\w<>]+)+)@[0-9a-f]{6,}"')  # as hashing spells what has no value of its own


def key_of(verb: Any, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, int]:
    """Gives the key of a tool's call and its size; of an argument without a value of its own its class alone counts."""
    text = _OBJECT.sub(rb'"\1"', hashing.canonical(verb.arguments_of(fn, args, kwargs)))
    return hashing.digest([verb.tool, redaction.redacted(json.loads(text))]), len(text)


def unplayable(verb: Any, wrapped: Callable[..., Any] | None) -> str | None:
    """Tells why a tool cannot be replayed, whatever it gives, or gives None."""
    if wrapped is None:
        return f"tool {verb.tool} is a `with` block, whose code nobody can stand in for: decorate a function"
    if kind_of(wrapped) in ("generator", "async generator"):
        return f"tool {verb.tool} gives its results one by one"
    if getattr(wrapped, "__name__", "") in ("__init__", "__new__"):
        return f"tool {verb.tool} is a class"
    return None


def holds(result: object) -> bool:
    """Tells whether a result comes back from JSON as it was."""
    try:
        return bool(json.loads(json.dumps(result, allow_nan=False)) == result)
    except Exception:  # whatever the comparison of somebody's objects raises
        return False


class ReplayedError(Exception):
    """A tool failed when it was recorded, and fails again.

    It is also of the class that was raised then, where that is loaded here, and prints as that error did.
    """

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def raised(name: str, message: str) -> Exception:
    """Gives the error that a tool raised when it was recorded.

    Args:
        name: its class, with the module.
        message: what it said.
    """
    module, _, last = name.rpartition(".")
    namespace = {"__module__": module, "__doc__": ReplayedError.__doc__}
    for bases in ((ReplayedError, _loaded(module, last)), (ReplayedError,)):
        try:
            error: Exception = type(last, bases, namespace)(message)
            return error
        except TypeError:  # a class that cannot be derived from, or wants more than a message
            continue
    return ReplayedError(message)


def _loaded(module: str, name: str) -> Any:
    home: Any = builtins if module == "builtins" else sys.modules.get(module)
    found = getattr(home, name, None)
    return found if isinstance(found, type) and issubclass(found, Exception) else Exception
