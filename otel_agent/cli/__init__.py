"""The command line: one command a file, which parses and prints, and leaves all else to the rooms below.

Decides exit codes where no command does: 2 for wrong usage and for an extra that is missing, 74 for output that cannot
be written, 130 for an interrupt, 141 for a reader of the output that has left. The last three say nothing of what the
command did: a change stands before a word of it is printed. Importing this needs no extra; the commands need `cli`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

__all__ = ["main"]

NAME = "otel-agent"
HINT = "otel-agent needs its command line: pip install 'otel-agent[cli]'"
WRONG_USAGE, UNWRITABLE, INTERRUPTED, READER_LEFT = 2, 74, 130, 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: what stands behind the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    if sys.stdout is None:  # it was closed: there is nobody to print for
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    streams = [sys.stdout, sys.stderr]
    try:
        code = _main(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit:
        if sys.stdout is streams[0]:
            raise
        _say_no_more(streams)  # click has put another in its place and exits with 1, the code of a refusal
        return READER_LEFT
    except OSError as failed:
        lost = failed if isinstance(failed, BrokenPipeError) else _lost()
        if lost is None:
            raise
        return _unwritten(lost, streams)


def _unwritten(lost: OSError, streams: Sequence[TextIO]) -> int:
    """Gives the exit code of a command whose output cannot be written, and says so where anybody can read it."""
    code = READER_LEFT if isinstance(lost, BrokenPipeError) else UNWRITABLE
    if code == UNWRITABLE:
        with suppress(OSError):  # stderr may be on the same disk
            print(f"{NAME}: the output cannot be written: {lost.strerror}; what was changed stays so", file=sys.stderr)
    _say_no_more(streams)
    return code


def _lost() -> OSError | None:
    """Gives what keeps stdout or stderr from being written."""
    for stream in (sys.stdout, sys.stderr):
        try:
            print(file=stream, flush=True)
        except OSError as failed:
            return failed
    return None


def _say_no_more(streams: Sequence[TextIO]) -> None:
    """Leads streams that cannot be written to nowhere: the interpreter flushes them once more at its end."""
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def _main(arguments: Sequence[str] | None) -> int:
    try:
        import click

        from otel_agent.cli.app import app

        try:
            return int(app.main(arguments, prog_name=NAME, standalone_mode=False) or 0)
        except click.ClickException as wrong:
            wrong.show()
            return wrong.exit_code
        except click.Abort:
            return INTERRUPTED
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("click", "filelock", "rich"):
            raise
        print(HINT, file=sys.stderr)
        return WRONG_USAGE
