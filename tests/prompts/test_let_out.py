"""Which versions may run without having passed: let out by force, or gone back to, and not taken back since."""

from __future__ import annotations

from typing import Any

import pytest

from otel_agent import InvalidSetting
from otel_agent.prompts import Change, dump_change, parse_change
from otel_agent.prompts.let_out import let_out

ID = "support:v14:0123456789ab"
BACK = "support:v13:00aa00aa00aa"
FORCED: dict[str, Any] = {"overridden": ("no golden tasks",), "why": "an emergency"}


def change(what: Any, before: str | None, after: str | None, **more: Any) -> Change:
    fields = {"prompt": "support", "when": "2026-11-27T09:30:00Z", "who": "anna", **more}
    return Change(what=what, before=before, after=after, **fields)


ACTIVATED = change("activated", "support:v13", "support:v14", id=ID, **FORCED)
TRIED = change("rollout_changed", "support:v13", "support:v14", id=ID, **FORCED)


@pytest.mark.parametrize("forced", [ACTIVATED, TRIED])
def test_what_is_forced_for_a_reason_may_run(forced: Change) -> None:
    assert let_out([forced]) == {ID}


def test_where_its_text_was_not_known_it_is_known_by_its_version() -> None:
    assert let_out([change("activated", None, "support:v14", **FORCED)]) == {"support:v14"}


@pytest.mark.parametrize("missing", [{"overridden": ()}, {"why": None}])
def test_what_went_through_the_gate_or_has_no_reason_is_not_in_it(missing: dict[str, Any]) -> None:
    assert not let_out([change("activated", "support:v13", "support:v14", id=ID, **{**FORCED, **missing})])


@pytest.mark.parametrize(
    ("back", "left"),
    [
        (change("rolled_back", "support:v14", "support:v13"), {"support:v13"}),
        (
            change("rolled_back", "support:v14", "support:v13", id="support:v13:00aa00aa00aa"),
            {"support:v13:00aa00aa00aa"},
        ),
        (change("rolled_back", ID, "support:v13"), {"support:v13"}),
        (change("rollout_changed", "support:v14", None), set()),
        (change("reset", "support:v14", "support:v13"), set()),
        (change("activated", "support:v14", "support:v15"), {ID}),
        (change("reset", "sales:v1", "sales:v2", prompt="sales"), {ID}),
        (change("rolled_back", "sales:v14", "sales:v2", prompt="sales"), {ID, "sales:v2"}),
    ],
)
def test_what_is_taken_back_needs_the_gate_again_and_what_it_leads_to_does_not(back: Change, left: set[str]) -> None:
    assert let_out([ACTIVATED, back]) == left


def test_what_is_forced_again_may_run_again() -> None:
    assert let_out([ACTIVATED, change("rolled_back", "support:v14", "support:v13"), TRIED]) == {ID, "support:v13"}


def test_id_and_objections_are_in_the_line_and_read_back() -> None:
    assert parse_change(dump_change(ACTIVATED)) == ACTIVATED
    assert '"overridden": ["no golden tasks"]' in dump_change(ACTIVATED)
    plain = change("activated", None, "support:v14")
    assert "overridden" not in dump_change(plain)
    assert parse_change(dump_change(plain)) == plain


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"id": "support"}, "id"), ({"overridden": "x"}, "overridden"), ({"overridden": [3]}, "overridden")],
)
def test_what_can_never_be_is_refused(wrong: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSetting, match=rf"Change\.{field} = "):
        change("activated", None, "support:v14", **wrong)
