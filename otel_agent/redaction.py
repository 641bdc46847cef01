"""What looks like a secret, and a text without it.

The one list of such patterns: the collector's configuration has the same (a test compares them). They are written for
its engine, RE2, and mean the same here. Reads no settings, and knows nothing of where a text came from.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from otel_agent.checks import is_list, is_mapping

__all__ = ["NAMES", "PERSONAL", "REDACTED", "SECRETS", "redacted", "redacted_pieces", "redacted_together"]

REDACTED = "[redacted]"

NAMES = (
    "(?i)(api[-_.]?key|authorization|passwo?r?d|secret|cookie|credential"
    "|private[-_.]?key|access[-_.]?token|auth[-_.]?token)"
)
"""Names under which a secret stands."""

SECRETS = (
    r"\b(sk|pk|rk|gsk|glpat|lsv2)[-_][A-Za-z0-9_-]{16,}",
    r"(AKIA|ASIA)[A-Z0-9]{16}",
    r"AIza[0-9A-Za-z_-]{30,}",
    r"\b(gh[pousr]_|github_pat_|hf_|xox[abeoprs]-|npm_|pypi-)[A-Za-z0-9_-]{10,}",
    r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(\.[A-Za-z0-9_-]*)?",
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*PRIVATE KEY-----)?",
    r"(?i)\bbearer[ :]+[A-Za-z0-9._~+/=-]{12,}",
    r"\bBasic [A-Za-z0-9+/]{14,}={0,2}",
    r"""(?i)(api[-_]?key|secret|passwo?r?d|authorization|access[-_]?token|auth[-_]?token)["']?\s*[:=]\s*["']?[^\s"',;&]{4,}""",
    r"://[^/\s:@]+:[^/\s@]+@",
)
"""Keys, tokens and passwords."""

PERSONAL = (
    r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
    r"(^|[^0-9A-Za-z.])(4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6(011|5[0-9]{2}))([ -]?[0-9]{4}){3}\b",
    r"(^|[^0-9A-Za-z.])3[47][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{5}\b",
)
"""E-mail addresses and card numbers, which a backend has no use for, but which an answer may well be about."""

_NAME = re.compile(NAMES)
_SECRETS = tuple(re.compile(pattern) for pattern in SECRETS)
_ROUNDS = 8  # what was put in the place of one may stand behind a name of another

_Path: TypeAlias = tuple[str | int, ...]


def redacted(value: Any) -> Any:
    """Gives a text, or a value as JSON has it, with `[redacted]` in the place of all that looks like a secret.

    Doing it twice changes nothing more.
    """
    return redacted_together([value])[0]


def redacted_together(values: Sequence[Any]) -> list[Any]:
    """Does the same for the events of a stream, whose texts at one place are pieces of one text."""
    texts: defaultdict[_Path, list[str]] = defaultdict(list)
    for value in values:
        for path, text in _texts(value, ()):
            texts[path].append(text)
    clean = {path: iter(_clean(pieces)) for path, pieces in texts.items()}
    return [_rebuilt(value, (), clean) for value in values]


def redacted_pieces(pieces: Sequence[str]) -> list[str]:
    """Does the same for one text in pieces: what begins in one and ends in another goes out of both."""
    found = list(pieces)
    for _ in range(_ROUNDS):
        text = "".join(found)
        spans = sorted(match.span() for pattern in _SECRETS for match in pattern.finditer(text))
        if not spans:
            break
        found = list(_without(found, _merged(spans)))
    return found


def _clean(pieces: list[str]) -> list[str]:
    if len(set(pieces)) == 1:  # each event says it anew, such as an id
        return redacted_pieces(pieces[:1]) * len(pieces)
    return redacted_pieces(pieces)


def _merged(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for start, end in spans:
        if found and start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _without(pieces: Sequence[str], spans: Sequence[tuple[int, int]]) -> Iterator[str]:
    begin = 0
    for piece in pieces:
        end, at, kept = begin + len(piece), begin, ""
        for start, stop in spans:
            if start < end and stop > begin:
                kept += piece[at - begin : max(start, begin) - begin] + (REDACTED if start >= begin else "")
                at = min(stop, end)
        yield kept + piece[at - begin :]
        begin = end


def _texts(value: Any, path: _Path) -> Iterator[tuple[_Path, str]]:
    if isinstance(value, str):
        yield path, value
    for name, item in _items(value):
        if not _is_secret(name, item):
            yield from _texts(item, (*path, name))


def _rebuilt(value: Any, path: _Path, clean: Mapping[_Path, Iterator[str]]) -> Any:
    if isinstance(value, str):
        return next(clean[path])
    items = (
        (name, REDACTED if _is_secret(name, item) else _rebuilt(item, (*path, name), clean))
        for name, item in _items(value)
    )
    if is_mapping(value):
        return dict(items)
    return [item for _, item in items] if is_list(value) else value


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if is_mapping(value):
        yield from value.items()
    elif is_list(value):
        yield from enumerate(value)


def _is_secret(name: object, value: object) -> bool:
    """Tells whether a text stands under a name of a secret."""
    return isinstance(value, str) and bool(value) and isinstance(name, str) and _NAME.search(name) is not None
