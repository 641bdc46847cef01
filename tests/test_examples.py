"""Every example runs, offline and from any folder, without a warning."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.offline import ROOT, execute


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    execute([sys.executable, "-W", "error", str(example)], tmp_path)
