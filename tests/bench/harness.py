"""How a benchmark is registered, timed and reported. Knows none of the benchmarks."""

from __future__ import annotations

import contextlib
import gc
import importlib
import inspect
import json
import os
import pkgutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

__all__ = [
    "BEGIN",
    "END",
    "ROOT",
    "Bench",
    "Measured",
    "Pair",
    "Processes",
    "Result",
    "as_json",
    "bench",
    "find",
    "measure",
    "measure_apart",
    "run",
    "scaled",
    "table",
    "write",
]

ROOT = Path(__file__).parent.parent.parent
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"

Bounded = Literal["ratio", "ours", "difference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two callables without arguments; one call of either is `operations` operations."""

    ours: Callable[[], object]
    yardstick: Callable[[], object]
    operations: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Processes:
    """Two pieces of Python source, each run in fresh interpreters; `whole` counts their start and exit too."""

    ours: str
    yardstick: str
    whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Two numbers in the same unit, and their quotient unless another ratio is given; "s" is shown as s, ms or us."""

    ours: float
    yardstick: float
    unit: str = "s"
    ratio: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One registered benchmark: `make` gives what is to be measured, or yields it once."""

    name: str
    yardstick: str
    at_most: float
    of: Bounded
    env: Mapping[str, str]
    make: Callable[[], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one benchmark gave, in `unit`; `ok` is whether the bounded number is within `at_most`."""

    name: str
    ours: float
    yardstick: float
    unit: str
    ratio: float
    at_most: float
    of: Bounded
    ok: bool
    against: str


_registered: dict[str, Bench] = {}
_quick = False


def bench(
    name: str, *, yardstick: str, at_most: float, of: Bounded = "ratio", env: Mapping[str, str] | None = None
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Registers a benchmark under a name that readers of the table understand.

    Args:
        name: what is measured.
        yardstick: what it is measured against.
        at_most: the bound: a ratio, or a number in the unit of the result.
        of: what the bound is for.
        env: variables to set for it.
    """

    def register(make: Callable[[], Any]) -> Callable[[], Any]:
        if name in _registered:
            raise ValueError(f"two benchmarks are called {name!r}")
        _registered[name] = Bench(name=name, yardstick=yardstick, at_most=at_most, of=of, env=env or {}, make=make)
        return make

    return register


def find(parts: Iterable[str] = ()) -> list[Bench]:
    """Gives all benchmarks, or those whose name has one of these parts."""
    package = importlib.import_module(__package__)
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("bench_"):
            importlib.import_module(f"{__package__}.{module.name}")
    wanted = tuple(parts)
    return [one for one in _registered.values() if not wanted or any(part in one.name for part in wanted)]


def scaled(count: int) -> int:
    """Gives the count, or a thousandth of it (at least 1) in a quick run."""
    return max(1, count // 1000) if _quick else count


def measure(one: Bench, *, quick: bool = False) -> Result:
    """Measures one benchmark in this very process."""
    global _quick
    _quick = quick
    make = contextlib.contextmanager(one.make) if inspect.isgeneratorfunction(one.make) else _as_context(one.make)
    with make() as given:
        match given:
            case Pair():
                found = _time_pair(given, quick=quick)
            case Processes():
                found = _time_processes(given, pairs=2 if quick else 15)
            case Measured():
                found = given
            case _:
                raise TypeError(f"{one.name!r} gave {given!r}: must be a Pair, Processes or Measured")
    return _judge(one, found)


def _as_context(make: Callable[[], Any]) -> Callable[[], contextlib.nullcontext[Any]]:
    return lambda: contextlib.nullcontext(make())


def _judge(one: Bench, found: Measured) -> Result:
    ratio = found.ours / found.yardstick if found.ratio is None else found.ratio
    bounded = {"ratio": ratio, "ours": found.ours, "difference": found.ours - found.yardstick}[one.of]
    return Result(
        name=one.name,
        ours=found.ours,
        yardstick=found.yardstick,
        unit=found.unit,
        ratio=ratio,
        at_most=one.at_most,
        of=one.of,
        ok=bounded <= one.at_most,
        against=one.yardstick,
    )


def _time_pair(pair: Pair, *, quick: bool) -> Measured:
    """Times both in many short turns: a slow moment of the machine hits both, and the median ratio forgets it.

    The times given are those of the fastest tenth of the turns: what other programs do can only add to a time.
    """
    calls = _calls_that_take(0.0001 if quick else 0.001, pair)
    ours, yardstick = [], []
    for turn in range(5 if quick else 500):
        if turn % 2:
            ours.append(_time(pair.ours, calls))
            yardstick.append(_time(pair.yardstick, calls))
        else:
            yardstick.append(_time(pair.yardstick, calls))
            ours.append(_time(pair.ours, calls))
    operations = calls * pair.operations
    return Measured(
        ours=_fastest_tenth(ours) / operations,
        yardstick=_fastest_tenth(yardstick) / operations,
        ratio=statistics.median(a / b for a, b in zip(ours, yardstick, strict=True)),
    )


def _fastest_tenth(times: list[float]) -> float:
    return statistics.quantiles(times, n=10)[0]


def _calls_that_take(seconds: float, pair: Pair) -> int:
    """Gives a number of calls that takes about this long, after warming both up."""
    calls = 1
    while min(_time(pair.ours, calls), _time(pair.yardstick, calls)) < seconds:
        calls *= 2
    return calls


def _time(call: Callable[[], object], calls: int) -> float:
    gc.collect(0)
    gc.disable()
    try:
        start = time.perf_counter()
        for _ in repeat(None, calls):
            call()
        return time.perf_counter() - start
    finally:
        gc.enable()


def _time_processes(processes: Processes, *, pairs: int) -> Measured:
    """Runs both in turns; the first turn only writes byte code."""
    turns = [
        (_time_process(processes.ours, processes.whole), _time_process(processes.yardstick, processes.whole))
        for _ in range(pairs + 1)
    ][1:]
    return Measured(
        ours=statistics.median(ours for ours, _ in turns),
        yardstick=statistics.median(yardstick for _, yardstick in turns),
        ratio=statistics.median(ours / yardstick for ours, yardstick in turns),
    )


def _time_process(source: str, whole: bool) -> float:
    inside = f"import time\nstart = time.perf_counter()\n{source}\nprint(time.perf_counter() - start)"
    start = time.perf_counter()
    done = _python("-c", source if whole else inside, env=_environment())
    return time.perf_counter() - start if whole else float(done.split()[-1])


def measure_apart(one: Bench, *, quick: bool = False) -> Result:
    """Measures one benchmark in an interpreter of its own, with its own environment."""
    arguments = ["-m", "tests.bench", "--worker", one.name, *(["--quick"] if quick else [])]
    (result,) = json.loads(_python(*arguments, env=_environment() | one.env).splitlines()[-1])
    return Result(**result)


def _environment() -> dict[str, str]:
    """Gives this process' environment without what sets up the package or the interpreter ("write no byte code")."""
    apart = ("OTEL_", "PYTHON", "COVERAGE", "COV_CORE")
    return {name: value for name, value in os.environ.items() if not name.startswith(apart)}


def _python(*arguments: str, env: Mapping[str, str]) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def table(results: Iterable[Result]) -> str:
    """Gives the results as a Markdown table."""
    return _table(map(_row, results))


def _table(rows: Iterable[str]) -> str:
    lines = ["| what | ours | yardstick | ratio | must be | |", "|---|---:|---|---:|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    bound = {
        "ratio": f"<= {result.at_most:g} x",
        "ours": f"<= {_shown(result.at_most, result.unit)}",
        "difference": f"<= {_shown(result.at_most, result.unit)} more",
    }[result.of]
    yardstick = f"{_shown(result.yardstick, result.unit)}: {result.against}"
    cells = (
        result.name,
        _shown(result.ours, result.unit),
        yardstick,
        f"{result.ratio:.2f}",
        bound,
        "ok" if result.ok else "**missed**",
    )
    return f"| {' | '.join(cells)} |"


def _shown(number: float, unit: str) -> str:
    """Gives a number of three digits with its unit; seconds as s, ms or us."""
    if unit == "s":
        factor, unit = next(
            (f, u) for f, u in ((1, "s"), (1e3, "ms"), (1e6, "us")) if abs(number) * f >= 1 or u == "us"
        )
        number *= factor
    return f"{number:.3g} {unit}" if abs(number) < 1000 else f"{number:,.0f} {unit}"


def write(path: Path, results: Iterable[Result]) -> None:
    """Puts results into the table between the two markers of a file; rows of other benchmarks stay.

    Raises:
        ValueError: the file has not exactly one of each marker, in this order.
    """
    whole = path.read_text("utf-8")
    before, begin, rest = whole.partition(BEGIN)
    inside, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in after:
        raise ValueError(f"{path.name} must have one {BEGIN} and after it one {END}")
    path.write_text(f"{before}{BEGIN}\n{_table(_merged(inside, results))}{END}{after}", "utf-8")


def _merged(written: str, results: Iterable[Result]) -> list[str]:
    """Gives the new rows and the written ones of other benchmarks, in the order of the benchmarks."""
    fresh = {result.name: _row(result) for result in results}
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in written.strip().splitlines()[2:]} | fresh
    return [rows[name] for name in dict.fromkeys([*(one.name for one in find()), *fresh]) if name in rows]


def as_json(results: Iterable[Result]) -> str:
    """Gives the results as one line of JSON, numbers as they were measured."""
    return json.dumps([asdict(result) for result in results]) + "\n"


def run(benches: Iterable[Bench], *, quick: bool) -> Iterator[Result]:
    """Measures one after the other and says on stderr which one it is at."""
    for one in benches:
        print(f"{one.name} ...", file=sys.stderr, flush=True)
        yield measure_apart(one, quick=quick)
