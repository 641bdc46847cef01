"""Benchmarks: what the package costs, as a ratio to a yardstick that is timed in the same run.

    python -m tests.bench                     run all, print the table
    python -m tests.bench --only import       run those with "import" in their name
    python -m tests.bench --write README.md   run all, put the rows between the file's two `bench` markers

With `--only` and `--write` the other rows of the file stay as they were.

A new benchmark is a function in any `bench_*.py` of this folder; nothing else has to know of it:

    from tests.bench.harness import Pair, bench

    @bench("a tool call, sampled", yardstick="a bare span", at_most=1.0)
    def tool_call_sampled():
        ...                                     # set-up, not timed
        return Pair(ours=decorated, yardstick=bare)

Each runs in an interpreter of its own, so that it may set providers as it likes; `env={...}` sets its environment (all
`OTEL_*` variables are absent otherwise). A generator function that yields its `Pair` once may clean up behind it.

What it gives is one of three:

- `Pair`: two callables, timed in turns in one process; `operations=n` where one call of them is n operations.
- `Processes`: two pieces of source, run in turns in fresh interpreters.
- `Measured`: two numbers that it found out itself, in any unit. `scaled(1_000_000)` gives a thousandth in a quick run.

`at_most` bounds the ratio. With `of="ours"` it bounds our number itself, with `of="difference"` what it is over the
yardstick; times are in seconds then.
"""
