"""A page that needs nothing else: no script, no font, no picture of others; light and dark as the reader has it."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from importlib.resources import files

__all__ = ["render_page", "render_tiles"]


def render_page(title: str, body: str) -> str:
    """Gives a whole page.

    Args:
        title: what it is called; it is not yet a heading.
        body: its HTML.
    """
    style = files("otel_agent.views").joinpath("report.css").read_text("utf-8")
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def render_tiles(tiles: Iterable[tuple[str, str]]) -> str:
    """Gives names with their values, each pair in a box."""
    return f"<dl>{''.join(f'<div><dt>{escape(name)}</dt><dd>{escape(text)}</dd></div>' for name, text in tiles)}</dl>"
