"""`max_seconds` for a hung call in the main thread, on request: SIGALRM at the deadline, raised in the user's code.

The handler never raises inside a gate, a span or anything else of ours or of OpenTelemetry: it looks at what it
interrupted and comes back a moment later.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

from otel_agent import context as ctx
from otel_agent import semconv
from otel_agent.budget import NANO, NO_LIMIT
from otel_agent.run import drive, steps
from otel_agent.run.calls import Call
from otel_agent.run.state import Run, on_new_deadline
from otel_agent.telemetry import spans
from otel_agent.telemetry.guard import warn_once

__all__ = ["arm", "disarm"]

COME_BACK_SECONDS = 0.005
_OURS = ("otel_agent.", "opentelemetry.")
_CALLS_USER_CODE = {drive.__name__, steps.__name__}

_armed: list[Run] = []


def arm(run: Run) -> None:
    """Lets the deadline of a run interrupt the main thread.

    Does nothing in other threads, or where the application uses SIGALRM itself: then the deadline holds at each gate.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        return
    if not _armed:
        if signal.getsignal(signal.SIGALRM) not in (signal.SIG_DFL, _on_alarm):
            warn_once(
                "sigalrm", "SIGALRM is taken by the application: max_seconds of %s holds at gates only", run.agent
            )
            return
        signal.signal(signal.SIGALRM, _on_alarm)
    _armed.append(run)
    _set_timer()


def disarm(run: Run) -> None:
    """Ends what `arm` began, and leaves the signal as it was found."""
    if run not in _armed:
        return
    _armed.remove(run)
    _set_timer()
    _put_back()


def _put_back() -> None:
    """Leaves the signal as it was found, once no run needs it; only the main thread may."""
    if not _armed and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def deadline_moved(run: Run) -> None:
    """Follows a deadline that was changed while the run is open."""
    if run in _armed:
        _set_timer()


on_new_deadline(deadline_moved)


def _set_timer() -> None:
    deadline = min((run.account.deadline for run in _armed), default=NO_LIMIT)
    left = 0.0 if deadline == NO_LIMIT else max((deadline - ctx.monotonic()) / NANO, COME_BACK_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, left)


def _on_alarm(number: int, frame: FrameType | None) -> None:
    now = ctx.monotonic()
    late = [run for run in _armed if now >= run.account.deadline]
    if late and _in_user_code(frame):
        stop = late[0].account.time_is_up(now)
        innermost = ctx.current_frame()
        if isinstance(innermost, Call):
            spans.write(innermost.span, {semconv.STOP_REASON: str(stop.code)})
        raise late[0].stop_of(stop)
    _set_timer()


def _in_user_code(frame: FrameType | None) -> bool:
    innermost = True
    while frame is not None:
        module = str(frame.f_globals.get("__name__", "")) + "."
        if module.startswith(_OURS):
            return module[:-1] in _CALLS_USER_CODE and not innermost
        innermost = False
        frame = frame.f_back
    return True
