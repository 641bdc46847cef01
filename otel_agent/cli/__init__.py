"""The command line: one command a file, which parses and prints, and leaves all else to the rooms below.

Decides exit codes where no command does: 2 for wrong usage and for an extra that is missing, 130 for an interrupt.
Importing this needs no extra; the commands need `cli`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]

NAME = "otel-agent"
HINT = "otel-agent needs its command line: pip install 'otel-agent[cli]'"
WRONG_USAGE, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what stands behind the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    if sys.stdout is None:  # it was closed: there is nobody to print for
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    try:
        return _main(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED


def _main(arguments: Sequence[str] | None) -> int:
    try:
        import click

        from otel_agent.cli.app import app
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("click", "filelock", "rich"):
            raise
        print(HINT, file=sys.stderr)
        return WRONG_USAGE
    try:
        return int(app.main(arguments, prog_name=NAME, standalone_mode=False) or 0)
    except click.ClickException as wrong:
        wrong.show()
        return wrong.exit_code
    except click.Abort:
        return INTERRUPTED
