"""The harness tells what it measured, and every benchmark runs. No speed is asserted here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench import __main__ as command
from tests.bench.harness import (
    BEGIN,
    END,
    ROOT,
    Bench,
    Bounded,
    Measured,
    Pair,
    Processes,
    bench,
    find,
    measure,
    measure_apart,
    scaled,
    table,
    write,
)


def made(make: Callable[[], Any], *, of: Bounded = "ratio", at_most: float = 2.0) -> Bench:
    return Bench(name="a thing", yardstick="another", at_most=at_most, of=of, env={}, make=make)


@pytest.mark.parametrize("one", find(), ids=lambda one: one.name)
def test_every_benchmark_runs(one: Bench) -> None:
    result = measure_apart(one, quick=True)
    assert result.name == one.name
    assert result.ours >= 0
    assert result.yardstick > 0
    assert result.ratio >= 0


def test_a_pair_is_called_in_turns_and_equally_often() -> None:
    calls: list[str] = []
    measure(made(lambda: Pair(ours=lambda: calls.append("a"), yardstick=lambda: calls.append("b"))), quick=True)
    assert calls.count("a") == calls.count("b") > 5
    assert "ab" in "".join(calls)
    assert "ba" in "".join(calls)


def test_operations_divide_the_time_and_not_the_ratio() -> None:
    pair = Pair(ours=lambda: sum(range(2000)), yardstick=lambda: sum(range(2000)), operations=1_000_000)
    result = measure(made(lambda: pair), quick=True)
    assert result.ours < 1e-8
    assert result.ratio > 0


def test_processes_are_timed_inside_unless_whole() -> None:
    inside = measure(made(lambda: Processes(ours="pass", yardstick="import time; time.sleep(0.05)")), quick=True)
    assert inside.yardstick >= 0.05
    assert inside.ours < 0.01
    whole = measure(made(lambda: Processes(ours="pass", yardstick="pass", whole=True)), quick=True)
    assert whole.ours > inside.ours


def test_processes_write_byte_code_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    source = "import sys; assert not sys.dont_write_bytecode"
    assert measure(made(lambda: Processes(ours=source, yardstick="pass")), quick=True).ours > 0


def test_a_process_that_fails_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no such thing"):
        measure(made(lambda: Processes(ours="raise SystemExit('no such thing')", yardstick="pass")), quick=True)


@pytest.mark.parametrize(
    ("of", "at_most", "ok"),
    [
        ("ratio", 1.5, True),
        ("ratio", 1.4, False),
        ("ours", 3.0, True),
        ("ours", 2.9, False),
        ("difference", 1.0, True),
        ("difference", 0.9, False),
    ],
)
def test_the_bound_is_of_what_it_says(of: Bounded, at_most: float, ok: bool) -> None:
    assert measure(made(lambda: Measured(ours=3, yardstick=2, unit="MB"), of=of, at_most=at_most)).ok is ok


def test_a_generator_cleans_up_behind_its_pair() -> None:
    order: list[str] = []

    def with_clean_up() -> Iterator[Measured]:
        order.append("up")
        yield Measured(ours=1, yardstick=1)
        order.append("down")

    assert measure(made(with_clean_up)).ratio == 1
    assert order == ["up", "down"]


def test_anything_else_is_refused() -> None:
    with pytest.raises(TypeError, match="'a thing' gave 3"):
        measure(made(lambda: 3))


def test_a_quick_run_scales_counts_down() -> None:
    def count() -> Measured:
        return Measured(ours=scaled(1_000_000), yardstick=scaled(10))

    assert measure(made(count), quick=True).ratio == 1000
    assert measure(made(count)).ratio == 100_000


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="two benchmarks are called 'import otel_agent'"):
        bench("import otel_agent", yardstick="", at_most=1)(lambda: None)


def test_the_table_shows_numbers_with_their_units() -> None:
    results = [
        measure(made(lambda: Measured(ours=0.0000021, yardstick=0.02))),
        measure(made(lambda: Measured(ours=12345.6, yardstick=2, unit="kB"), of="ours")),
        measure(made(lambda: Measured(ours=3, yardstick=2.5), of="difference", at_most=0.000001)),
    ]
    assert table(results).splitlines()[2:] == [
        "| a thing | 2.1 us | 20 ms: another | 0.00 | <= 2 x | ok |",
        "| a thing | 12,346 kB | 2 kB: another | 6172.80 | <= 2 kB | **missed** |",
        "| a thing | 3 s | 2.5 s: another | 1.20 | <= 1 us more | **missed** |",
    ]


def test_write_replaces_what_stands_between_the_markers(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for number in (1, 2):
        result = measure(made(lambda number=number: Measured(ours=number, yardstick=2)))
        write(path, [result])
        assert path.read_text() == f"before\n{BEGIN}\n{table([result])}{END}\nafter\n"


def test_write_leaves_the_rows_of_other_benchmarks_and_drops_those_that_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    head, new = "| what |\n|---|\n", measure(made(lambda: Measured(ours=1, yardstick=2)))
    path.write_text(f"{BEGIN}\n{head}| no such benchmark | 1 s |\n| import otel_agent | 2 s |\n{END}\n")
    write(path, [new])
    assert [line.split(" | ")[0] for line in path.read_text().splitlines()[3:-1]] == [
        "| import otel_agent",
        "| a thing",
    ]


@pytest.mark.parametrize("text", ["", BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}", f"{BEGIN}{BEGIN}{END}"])
def test_write_wants_one_pair_of_markers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "page.md"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"page\.md must have one"):
        write(path, [])
    assert path.read_text() == text


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=100
    )


def test_the_command_prints_a_table_or_json() -> None:
    shown = run("--quick", "--only", "import otel_agent")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith("| what | ours |")
    (result,) = json.loads(run("--quick", "--json", "--only", "import otel_agent").stdout)
    assert result["name"] == "import otel_agent"


def test_the_command_lists_without_running(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list"]) == 0
    assert "import otel_agent\n" in capsys.readouterr().out


def test_the_command_refuses_nonsense(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "no such benchmark"]) == 2
    assert "no such benchmark" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        command.main(["--write", os.devnull, "--quick"])
