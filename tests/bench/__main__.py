"""The command: `python -m tests.bench`. Exit status 1 when a benchmark missed its bound, 2 when asked for nonsense."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench import harness


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What the package costs, as ratios.")
    parser.add_argument("--list", action="store_true", help="say what there is, run nothing")
    parser.add_argument("--only", action="append", default=[], metavar="PART", help="those with this in their name")
    parser.add_argument(
        "--quick", action="store_true", help="a few turns each: shows that they run, not what they cost"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="put the rows into the table between the markers of this file"
    )
    parser.add_argument("--worker", metavar="NAME", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.write and asked.quick:
        parser.error("--write takes real turns: no --quick")
    return asked


def main(arguments: list[str] | None = None) -> int:
    asked = parse(arguments)
    if asked.worker:
        (one,) = (one for one in harness.find() if one.name == asked.worker)
        print(harness.as_json([harness.measure(one, quick=asked.quick)]), end="")
        return 0
    benches = harness.find(asked.only)
    if not benches:
        print(f"no benchmark has any of {asked.only} in its name; --list shows them", file=sys.stderr)
        return 2
    if asked.list:
        print(*(one.name for one in benches), sep="\n")
        return 0
    results = list(harness.run(benches, quick=asked.quick))
    print(harness.as_json(results) if asked.json else harness.table(results), end="")
    if asked.write:
        harness.write(asked.write, results)
    return 0 if asked.quick or all(result.ok for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
