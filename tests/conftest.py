"""What every test shares: the coverage bar holds for a whole run only, nobody's cache folder is touched, and no example
that hypothesis draws has a deadline, for a busy machine breaks it."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import settings

SELECTING = ("deselect", "ignore", "ignore_glob", "keyword", "lf", "markexpr")

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_configure(config: pytest.Config) -> None:
    """Lifts the bar where only some tests were asked for, since a part of them cannot cover all of the package.

    What the package keeps of prompts, here and in the processes that tests start, goes into a folder of this run.
    """
    coverage = config.pluginmanager.getplugin("_cov")
    selected = any(config.getoption(name, None) for name in SELECTING)
    if coverage and (selected or config.args_source is not pytest.Config.ArgsSource.TESTPATHS):
        coverage.options.cov_fail_under = None
    cache = tempfile.TemporaryDirectory(prefix="otel-agent-cache-")
    config.add_cleanup(cache.cleanup)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in the background of a shell; programs would inherit it
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["XDG_CACHE_HOME"] = os.environ["LOCALAPPDATA"] = cache.name
