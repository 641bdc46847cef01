"""What a model's response says of itself, in one meaning for every provider, and how large a request will be.

Decides where each API reports tokens, model, id and finish reasons, and whether it counts cached and reasoning tokens
inside the rest or beside it. Knows the OpenAI and Anthropic shapes by their names alone, as objects or as dicts, and
imports neither SDK. Never raises, never consumes an iterator, never reads or parses what has not been read yet.
`docs/usage.md` has the mapping as a table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from otel_agent.usage import Reading

__all__ = ["StreamReading", "estimate_tokens", "read_response"]

LARGEST_COUNT = 10**12

# What each field of a `usage` counts; of each kind the first that is said holds. What is "apart" lies beside "fresh".
_FIELDS = (
    ("input", ("prompt_tokens",)),
    ("fresh", ("input_tokens",)),
    ("output", ("completion_tokens",)),
    ("output", ("output_tokens",)),
    ("total", ("total_tokens",)),
    ("cached", ("prompt_tokens_details", "cached_tokens")),
    ("cached", ("input_tokens_details", "cached_tokens")),
    ("cached", ("prompt_cache_hit_tokens",)),
    ("cached_apart", ("cache_read_input_tokens",)),
    ("written", ("prompt_tokens_details", "cache_write_tokens")),
    ("written", ("input_tokens_details", "cache_write_tokens")),
    ("written_apart", ("cache_creation_input_tokens",)),
    ("reasoning", ("completion_tokens_details", "reasoning_tokens")),
    ("reasoning", ("output_tokens_details", "reasoning_tokens")),
    ("reasoning", ("output_tokens_details", "thinking_tokens")),
)
_INPUT = ("input", "fresh", "cached_apart", "written_apart")

# Passes over the same request that Anthropic bills but leaves out of the sums.
_EXTRA_PASSES = frozenset({"compaction", "advisor_message"})

# Where an event keeps the response, or the part of it that carries the usage.
_INSIDE = ("response", "message", "chunk", "x_groq")
_DEEPEST = 2

# The events of a stream that say something of the whole call.
_TELLING = frozenset(
    {
        "chunk",
        "message",
        "message_delta",
        "message_start",
        "message_stop",
        "response.completed",
        "response.failed",
        "response.incomplete",
    }
)
# Plain dicts first, as asking an abstract class takes long.
_MAPPINGS = (dict, Mapping)

_ENDED = frozenset({"cancelled", "completed", "failed", "incomplete"})


def read_response(response: object) -> Reading:
    """Reads what a response says of itself; never raises.

    Args:
        response: a response of the OpenAI SDK (chat completions, responses, embeddings) or of the Anthropic SDK
            (messages), as an object or a dict; the event or chunk of their streams that carries the usage; or a raw
            response whose body has been read.

    Returns:
        The reading. What the response does not say is None, and so is a count that is no whole number from 0 to
        10^12, and a 0 in a usage without input.
    """
    stream = StreamReading()
    stream.feed(response)
    return stream.reading


class StreamReading:
    """What the events of one stream say of the call together.

    `feed` it each event or chunk; `reading` is what they have said so far. A later count replaces an earlier one, as
    every count of both SDKs is of the call so far. The first event of Anthropic's streams says a number of output
    tokens before there are any: it is left out, so that the output of an abandoned stream is unknown.
    """

    __slots__ = ("_counts", "_id", "_model", "_now", "_reasons", "began")

    def __init__(self, now: Callable[[], int] = lambda: 0) -> None:
        self.began: int | None = None
        self._now = now
        self._counts: dict[str, int] = {}
        self._reasons: dict[int, str] = {}
        self._model: str | None = None
        self._id: str | None = None

    def feed(self, event: object) -> None:
        """Takes in one event or chunk; never raises, and is quick where there is nothing to read."""
        if self.began is None:
            self.began = self._now()
        elif _says_nothing(event):
            return
        try:
            self._take(event, 0)
        except Exception:
            # No shape of ours: what was understood of it stays.
            return

    @property
    def reading(self) -> Reading:
        """What the stream has said so far."""
        used, output, cached, written, reasoning = _one_meaning(self._counts)
        return Reading(
            input_tokens=used or None,  # nobody bills an empty request: it was not counted
            output_tokens=output,
            cached_input_tokens=cached,
            cache_write_tokens=written,
            reasoning_tokens=reasoning,
            model=self._model,
            response_id=self._id,
            finish_reasons=tuple(self._reasons[choice] for choice in sorted(self._reasons)),
        )

    def _take(self, thing: object, depth: int) -> None:
        fields = _fields(thing)
        inside = [_get(fields, name) for name in _INSIDE] if depth < _DEEPEST else []
        for inner in (*inside, _body(fields)):
            if inner is not None:
                self._take(inner, depth + 1)
        self._model = _text(fields, "model") or self._model
        self._id = _text(fields, "id") or self._id
        self._reasons |= _reasons(fields)
        usage = _get(fields, "usage")
        self._counts |= _counts(_get(thing, "usage") if usage is None else usage)
        if _get(fields, "type") == "message_start":
            self._counts.pop("output", None)


def _says_nothing(event: Any) -> bool:
    """Tells in a few look-ups that an event carries neither usage nor an end; False also when it cannot tell."""
    try:
        fields: Mapping[str, Any] = event if event.__class__ is dict else event.__dict__
        if "type" in fields:
            kind = fields["type"]
            if kind == "chunk":
                return _says_nothing(fields["chunk"])
            return kind.__class__ is str and kind not in _TELLING and fields.get("usage") is None
        # An object may have a usage that its `__dict__` does not show.
        if fields["usage"] is not None if "usage" in fields else fields is not event:
            return False
        if "x_groq" in fields:  # of all that a chunk with choices may have, the one that holds another usage
            return False
        for choice in fields["choices"]:
            if choice.get("finish_reason") if choice.__class__ is dict else choice.finish_reason:
                return False
        return True
    except Exception:
        return False


def _get(thing: object, name: str) -> Any:
    """Gives a field of a mapping or an object; None when there is none, or when asking for it fails."""
    try:
        value = cast(Any, thing).get(name) if isinstance(thing, _MAPPINGS) else getattr(thing, name, None)
        # What cannot even say its class would break every later question.
        return value if value.__class__ else None
    except Exception:
        return None


def _fields(thing: object) -> object:
    """Gives the dict behind a pydantic model, as asking the model for a field that it has not is slow; or the thing."""
    extra = _get(thing, "__pydantic_extra__")
    if isinstance(thing, Mapping) or not isinstance(extra, dict):
        return thing  # pyright: ignore[reportUnknownVariableType]
    kept: dict[str, object] = thing.__dict__
    return kept | cast(dict[str, object], extra) if extra else kept


def _text(thing: object, name: str) -> str | None:
    value = _get(thing, name)
    return str.__str__(value) if isinstance(value, str) and value else None


def _body(wrapper: object) -> object:
    """Gives what an SDK's raw response holds, if it has been read; the SDK's own parsing is left alone."""
    content = _get(_get(wrapper, "http_response"), "content")
    try:
        return json.loads(content) if isinstance(content, bytes) else None
    except (ValueError, RecursionError):
        return None


def _reasons(thing: object) -> dict[int, str]:
    """Gives why the model ended, by choice."""
    choices = _get(thing, "choices")
    if isinstance(choices, list | tuple):
        return dict(_choice_reasons(cast(Iterable[object], choices)))
    why = _text(thing, "stop_reason") or _text(_get(thing, "delta"), "stop_reason") or _status(thing)
    return {0: why} if why else {}


def _choice_reasons(choices: Iterable[object]) -> Iterable[tuple[int, str]]:
    for position, choice in enumerate(choices):
        why, index = _text(choice, "finish_reason"), _count(_get(choice, "index"))
        if why:
            yield position if index is None else index, why


def _status(response: object) -> str | None:
    """Gives how a response of OpenAI's Responses API ended: why it is incomplete, or else its status."""
    status = _text(response, "status")
    if status not in _ENDED or _get(response, "object") != "response":
        return None
    return _text(_get(response, "incomplete_details"), "reason") or status


def _count(value: object) -> int | None:
    return value if type(value) is int and 0 <= value <= LARGEST_COUNT else None


def _counts(usage: object) -> dict[str, int]:
    """Gives the counts of a usage by kind; one without input was not counted, so that its zeros mean nothing."""
    if usage is None:
        return {}
    fields = _fields(usage)
    counts = _said(fields) | _extra_passes(_get(fields, "iterations"))
    counted = any(counts.get(kind) for kind in _INPUT)
    return counts if counted else {kind: count for kind, count in counts.items() if count}


def _said(usage: object) -> dict[str, int]:
    said: dict[str, int] = {}
    for kind, path in _FIELDS:
        count = _count(_follow(usage, path))
        if count is not None:
            said.setdefault(kind, count)
    return said


def _follow(usage: object, path: tuple[str, ...]) -> object:
    for name in path:
        usage = _get(usage, name)
    return usage


def _extra_passes(iterations: object) -> dict[str, int]:
    extra: dict[str, int] = {}
    for each in cast(Iterable[object], iterations) if isinstance(iterations, list | tuple) else ():
        if _get(each, "type") in _EXTRA_PASSES:
            for kind, count in _said(each).items():
                extra[f"extra {kind}"] = extra.get(f"extra {kind}", 0) + count
    return extra


def _one_meaning(counts: Mapping[str, int]) -> tuple[int | None, ...]:
    """Gives input, output, cached, cache-write and reasoning tokens; a part lies inside its whole."""
    cached = counts.get("cached", counts.get("cached_apart"))
    written = counts.get("written", counts.get("written_apart"))
    reasoning = counts.get("reasoning")
    used = _input(counts, (cached or 0) + (written or 0))
    output = _output(counts, used, reasoning or 0)
    read, wrote = counts.get("extra cached_apart", 0), counts.get("extra written_apart", 0)
    return (
        _plus(used, counts.get("extra fresh", 0) + read + wrote),
        _plus(output, counts.get("extra output", 0)),
        _plus(cached, read),
        _plus(written, wrote),
        _plus(reasoning, counts.get("extra reasoning", 0)),
    )


def _plus(count: int | None, extra: int) -> int | None:
    return None if count is None else count + extra


def _input(counts: Mapping[str, int], parts: int) -> int | None:
    if "input" in counts:
        return max(counts["input"], parts)
    if "fresh" in counts:
        return max(sum(counts.get(kind, 0) for kind in _INPUT), parts)
    rest = counts.get("total", 0) - counts["output"] if "output" in counts else 0
    return max(rest, parts) if rest > 0 else None


def _output(counts: Mapping[str, int], used: int | None, reasoning: int) -> int | None:
    """Gives all output. Some servers count reasoning beside it, and only in the total: the rest of that is output."""
    rest = counts["total"] - used if "total" in counts and used is not None else -1
    output = max(counts.get("output", -1), rest)
    return max(output, reasoning) if output >= 0 else None


BYTES_PER_TOKEN = 3
MESSAGE_TOKENS = 4
MEDIA_TOKENS = 2_000
_DEEPEST_MESSAGE = 100
_MEDIA_BYTES = MEDIA_TOKENS * BYTES_PER_TOKEN
_MEDIA = frozenset(
    {
        "audio",
        "document",
        "file",
        "image",
        "image_file",
        "image_url",
        "input_audio",
        "input_file",
        "input_image",
        "video",
        "video_url",
    }
)


def estimate_tokens(messages: object, tools: object = None) -> int | None:
    """Estimates the input tokens of a request, without a network and rather too high than too low; never raises.

    Every three bytes of UTF-8 text, names of fields included, count as one token, rounded up; each message and the
    request itself cost 4 tokens more; an image, a sound, a file, and whatever cannot be read as text, 2,000 whatever
    its size. English prose has more than four bytes a token, most other languages more than three; random digits and
    letters have fewer.

    Args:
        messages: a text, one message, or a list of messages: dicts or objects, their content a text or a list of parts.
        tools: the tools' schemas, in the same shapes; None is no tools.

    Returns:
        Tokens, or None when there are no messages, when something in them can only be read once (an iterator), or
        when they are nested more than 100 deep.
    """
    if messages is None:
        return None
    try:
        known: dict[int, tuple[object, int]] = {}
        weight = _weigh(messages, known, 0) + _weigh(tools, known, 0)
        count = len(cast(list[object], messages)) if isinstance(messages, list | tuple) else 1
    except Exception:
        return None
    return min(-(-weight // BYTES_PER_TOKEN) + MESSAGE_TOKENS * (count + 1), LARGEST_COUNT)


def _weigh(thing: object, known: dict[int, tuple[object, int]], depth: int) -> int:
    """Gives the bytes of all text in a thing. `known` holds what was weighed, so that a shared part is walked once."""
    if thing is None:
        return 0
    if isinstance(thing, str):
        return _text_bytes(thing)
    if isinstance(thing, int | float):
        return len(repr(thing))
    if depth > _DEEPEST_MESSAGE:
        raise RecursionError("nested too deep")
    if id(thing) not in known:
        # Inside itself it weighs nothing. What is kept cannot hand its id on to another.
        known[id(thing)] = thing, 0
        parts = _parts(thing)
        weight = _MEDIA_BYTES if parts is None else sum(_weigh(part, known, depth + 1) for part in parts)
        known[id(thing)] = thing, weight
    return known[id(thing)][1]


def _text_bytes(text: str) -> int:
    if text.startswith("data:") and ";base64," in text[:100]:
        return _MEDIA_BYTES
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _parts(thing: object) -> Iterable[object] | None:
    """Gives what a thing holds, or None when it is no text."""
    if isinstance(thing, list | tuple):
        return cast(Iterable[object], thing)
    if hasattr(thing, "__next__") or hasattr(thing, "__anext__"):
        raise TypeError("an iterator can be read only once")
    fields = _fields_of(thing)
    if fields is None or _is_media(fields):
        return None
    return (part for field in fields.items() if field[1] is not None for part in field)


def _fields_of(thing: object) -> Mapping[str, object] | None:
    if isinstance(thing, Mapping):
        return cast(Mapping[str, object], thing)
    if callable(thing):
        return None
    names = [*getattr(thing, "__dict__", ()), *getattr(type(thing), "__slots__", ())]
    fields = {name: _get(thing, name) for name in names if not name.startswith("_")}
    return fields | (_get(thing, "__pydantic_extra__") or {}) or None


def _is_media(fields: Mapping[str, object]) -> bool:
    kind = fields.get("type")
    return isinstance(kind, str) and kind in _MEDIA and _get(fields.get("source"), "type") not in ("text", "content")
