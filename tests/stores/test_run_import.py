"""Files of a collector: ours and those of other frameworks, plain and gzipped, whole and damaged."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_agent.stores.run_history import RunHistory, UnreadableHistory
from otel_agent.stores.run_import import import_file
from tests.stores.spans import line, span, span_line
from tests.support.past import past_run

AGENT = {"gen_ai__operation__name": "invoke_agent", "gen_ai__agent__name": "theirs"}
TOOL = {"gen_ai__operation__name": "execute_tool", "gen_ai__tool__name": "kb.search"}


def chat(tokens: int, **more: Any) -> dict[str, Any]:
    used = {"gen_ai__usage__input_tokens": tokens, "gen_ai__usage__output_tokens": 1}
    return {"gen_ai__operation__name": "chat", "gen_ai__request__model": "m", **used, **more}


@pytest.fixture
def history(tmp_path: Path) -> Iterator[RunHistory]:
    with RunHistory.create(tmp_path / "history") as made:
        yield made


def file_of(tmp_path: Path, *lines: bytes, name: str = "traces.jsonl") -> Path:
    path = tmp_path / name
    path.write_bytes(b"".join(lines))
    return path


def test_our_own_runs_come_in_as_they_were(history: RunHistory, tmp_path: Path) -> None:
    run = past_run(run_id="a" * 32, trace_id="b" * 32, stop_reason="max_usd", ended_ns=5_000)
    done = import_file(history, file_of(tmp_path, span_line(run)))
    assert (done.runs, done.known, done.spans, done.problems) == (1, 0, 1, ())
    (found,) = history.runs()
    assert (found.run_id, found.stop_reason, found.tool_calls, found.tokens) == ("a" * 32, "max_usd", 4, 3_600)
    assert len(history.spans("a" * 32)) == 1


def test_runs_of_other_frameworks_are_summed_from_their_calls(history: RunHistory, tmp_path: Path) -> None:
    path = file_of(
        tmp_path,
        line(span("1", "c1", "a1", **chat(100)), span("1", "71", "e", **TOOL), span("1", "e", "a1")),
        line(span("1", "c2", "a2", **chat(10, otel_agent__cost__usd=0.5))),
        line(span("1", "a2", "a1", **AGENT)),
        line({**span("1", "a1", start=0, end=3_000_000_000, **AGENT), "status": {"code": 2}}),
        line(span("2", "c3", "dead", **chat(1))),
        b'{"resourceLogs": []}\n\n',
    )
    done = import_file(history, path)
    assert (done.runs, done.spans, done.problems) == (2, 7, ())
    upper, lower = sorted(history.runs(), key=lambda run: run.parent_id or "")
    assert lower.parent_id == upper.run_id
    assert (upper.steps, upper.tool_calls, upper.input_tokens, upper.output_tokens) == (2, 1, 110, 2)
    assert (upper.stop_reason, upper.seconds, upper.micro_usd) == ("error", 3.0, None)
    assert (lower.steps, lower.stop_reason, lower.micro_usd) == (1, "finish", 500_000)
    assert {each.name.lstrip("0") for each in history.spans(upper.run_id)} == {"c1", "71", "e", "c2", "a1", "a2"}


def test_a_file_may_come_twice_and_gzipped(history: RunHistory, tmp_path: Path) -> None:
    text = span_line(past_run(run_id="a" * 32))
    import_file(history, file_of(tmp_path, text))
    done = import_file(history, file_of(tmp_path, gzip.compress(text), name="traces.jsonl.gz"))
    assert (done.runs, done.known) == (0, 1)
    assert len(list((history.folder / "spans").iterdir())) == 1


def test_damaged_lines_are_named_and_the_rest_comes_in(history: RunHistory, tmp_path: Path) -> None:
    good = span_line(past_run(run_id="a" * 32))
    bad = line({**span("1", "1", **AGENT), "endTimeUnixNano": "soon"})
    path = file_of(tmp_path, b"{half a line\n", good, bad)
    done = import_file(history, path)
    assert done.runs == 1
    assert done.problems[0].startswith(f"{path}: line 1: no JSON")
    assert done.problems[1].startswith(f"{path}: line 3: resourceSpans[0].scopeSpans[0].spans[0].endTimeUnixNano: ")


def test_a_gzip_stream_that_breaks_off_gives_what_it_had(history: RunHistory, tmp_path: Path) -> None:
    lines = [span_line(past_run(run_id=f"{at:032x}", agent=f"agent {at * 7919}")) for at in range(500)]
    whole = gzip.compress(b"".join(lines))
    done = import_file(history, file_of(tmp_path, whole[: len(whole) // 2], name="t.gz"))
    assert 0 < done.runs < 500
    assert "gzip stream is damaged" in done.problems[-1]


def test_what_is_compressed_otherwise_is_said_to_be(history: RunHistory, tmp_path: Path) -> None:
    with pytest.raises(UnreadableHistory, match="zstd"):
        import_file(history, file_of(tmp_path, b"\x28\xb5\x2f\xfd1234"))
    with pytest.raises(UnreadableHistory, match="No such file"):
        import_file(history, tmp_path / "nowhere")


def test_runs_that_are_under_each_other_in_a_circle_end(history: RunHistory, tmp_path: Path) -> None:
    a, b = (
        span("1", own, **AGENT, otel_agent__run__id=own * 32, otel_agent__run__parent_id=parent * 32)
        for own, parent in ("ab", "ba")
    )
    assert import_file(history, file_of(tmp_path, line(a, b))).runs == 2
    assert len(history.spans("a" * 32)) == 2


def test_progress_is_told(history: RunHistory, tmp_path: Path) -> None:
    path = file_of(tmp_path, *(span_line(past_run(run_id=f"{at:032x}")) for at in range(50)))
    seen: list[int] = []
    import_file(history, path, progress=seen.append)
    assert sum(seen) == path.stat().st_size
