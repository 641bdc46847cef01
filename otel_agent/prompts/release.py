"""What is released of a prompt: the active version, the one to go back to, and a canary for a share of the units.

Decides which unit is in a canary. A bucket follows from salt and unit alone, so that every process, and every
language, computes the same one:

    sha256 over the UTF-8 of `salt`, a line feed and `unit`; the first 12 hex digits as a number; modulo 10,000
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from otel_agent import checks
from otel_agent.prompts.registry import parse_ref
from otel_agent.stop import InvalidSetting

__all__ = ["BUCKETS", "UNITS", "Canary", "Percent", "Release", "bucket", "releases"]

BUCKETS = 10_000
UNITS = ("conversation", "user")

Percent = int | float | str | Decimal


def bucket(salt: str, unit: str) -> int:
    """Gives the bucket of a unit, 0 to 9,999.

    Args:
        salt: what makes one canary's buckets differ from another's.
        unit: the id of the conversation or the user.
    """
    return int.from_bytes(hashlib.sha256(f"{salt}\n{unit}".encode()).digest()[:6]) % BUCKETS


def _points(where: str, value: object) -> int:
    """Gives hundredths of a per cent, exactly."""
    if isinstance(value, (int, float, str, Decimal)) and not isinstance(value, bool):
        try:
            points = Decimal(float.__repr__(value) if isinstance(value, float) else value) * 100
        except ArithmeticError:  # no number, or one that overflows
            points = Decimal("NaN")
        if points.is_finite() and 0 <= points <= BUCKETS and points == int(points):
            return int(points)
    raise InvalidSetting(field=where, value=value, allowed="a percentage from 0 to 100, in steps of 0.01")


def _texts(where: str, value: object) -> tuple[str, ...]:
    if not checks.is_list(value):
        raise InvalidSetting(field=where, value=value, allowed="a list of texts")
    return tuple(checks.text(f"{where}[{index}]", item) for index, item in enumerate(value))


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """A version that only a share of the conversations or users gets, the same ones each time.

    Attributes:
        version: the version to try.
        percent: the share, 0 to 100, in steps of 0.01. Raising it keeps every unit that is in.
        by: whose id decides: "conversation" or "user". A run without that id gets the active version.
        salt: what the buckets are drawn with; None is the prompt's name. Another one draws other units.
        tenants: only runs of these tenants; empty for all.
        environments: only processes of these environments; empty for all.
        points: the share in hundredths of a per cent: a unit is in where its bucket is below.

    Raises:
        InvalidSetting: a value can never work.
    """

    version: str
    percent: Percent
    by: Literal["conversation", "user"] = "conversation"
    salt: str | None = None
    tenants: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    points: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks.name("Canary.version", self.version)
        points = _points("Canary.percent", self.percent)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "percent", points / 100 if points % 100 else points // 100)
        checks.choice("Canary.by", self.by, UNITS)
        if self.salt is not None:
            checks.text("Canary.salt", self.salt)
        object.__setattr__(self, "tenants", _texts("Canary.tenants", self.tenants))
        object.__setattr__(self, "environments", _texts("Canary.environments", self.environments))


@checks.known_keywords
@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What is released of one prompt.

    Attributes:
        name: the prompt's name.
        active: the version that runs get, as `name:version` or `name:version:hash`.
        rollback: the one to go back to, likewise, or None.
        canary: the version that is tried beside it, or None.
        candidate: the canary's version as `name:version`, or None where none runs.
        salt: what the buckets of its canary are drawn with.

    Raises:
        InvalidSetting: a value can never work, or is of another prompt.
    """

    name: str
    active: str
    rollback: str | None = None
    canary: Canary | None = None
    candidate: str | None = field(init=False, repr=False, compare=False)
    salt: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checks.name("Release.name", self.name)
        self._check("Release.active", self.active)
        if self.rollback is not None:
            self._check("Release.rollback", self.rollback)
        if self.canary is not None:
            checks.instance_of("Release.canary", self.canary, Canary, "a Canary or None")
        tried, salt = (None, None) if self.canary is None else (self.canary.version, self.canary.salt)
        object.__setattr__(self, "candidate", None if tried is None else f"{self.name}:{tried}")
        object.__setattr__(self, "salt", salt or self.name)

    def _check(self, where: str, value: object) -> None:
        if parse_ref(where, value).name != self.name:
            raise InvalidSetting(field=where, value=value, allowed=f"a version of {self.name}, such as {self.name}:v1")


def releases(
    active: Iterable[str],
    rollback: Iterable[str] = (),
    canary: Mapping[str, Canary] | None = None,
    *,
    where: str = "prompts",
) -> dict[str, Release]:
    """Builds the release of each name out of lists of `name:version`.

    Args:
        active: the active versions, at most one a name.
        rollback: the ones to go back to, likewise.
        canary: canaries by prompt name.
        where: what the fields stand under, for errors.

    Raises:
        InvalidSetting: a name stands twice, or has a rollback or a canary and no active version.
    """
    actives, backs = _by_name(f"{where}.active", active), _by_name(f"{where}.rollback", rollback)
    tried: Mapping[str, Any] = canary or {}
    for part, names in (("rollback", backs), ("canary", tried)):
        for name in names:
            if name not in actives:
                allowed = f"for a prompt that has an active version{checks.nearest(name, actives)}"
                raise InvalidSetting(field=f"{where}.{part}", value=name, allowed=allowed)
    return {
        name: Release(name=name, active=ref, rollback=backs.get(name), canary=tried.get(name))
        for name, ref in actives.items()
    }


def _by_name(where: str, refs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for ref in refs:
        name = parse_ref(where, ref).name
        if found.setdefault(name, ref) != ref:
            raise InvalidSetting(field=where, value=ref, allowed=f"one version of {name}: {found[name]} is there too")
    return found
