"""The page for those who are woken says what the declaration says."""

from __future__ import annotations

import re

from otel_agent.deploy.alerts import ALERTS
from tests.deploy.alert_page import PAGE, with_generated


def test_the_page_is_what_the_declaration_makes_of_it() -> None:
    page = PAGE.read_text("utf-8")
    assert page == with_generated(page), "run python -m tests.deploy.alert_page"


def test_the_page_has_a_place_for_each_link_of_an_alert() -> None:
    headings = re.findall(r"^### (\w+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    assert headings == [alert.name for alert in ALERTS]
