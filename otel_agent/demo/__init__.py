"""The main job: a support agent with a real client and real tools, run through every way a run can end.

Decides nothing about budgets or telemetry: it is a user of the package like any other. Needs the `demo` extra; only
`agent` and `backend` import `openai`.

    scenarios (what is asked, under which prompt and budget)  ->  show (plays them, prints)  ->  report (sums, table)
                                                                   |
         prompts, knowledge, tools  ->  agent  ->  backend: the user's model server, or script behind a scripted one
"""

from __future__ import annotations
