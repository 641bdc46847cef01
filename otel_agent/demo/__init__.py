"""The main job: a support agent with a real client and real tools, run through every way a run can end.

Decides nothing about budgets or telemetry: it is a user of the package like any other. Needs the `demo` extra; only
`agent`, `backend` and `play` import `openai`.

    scenarios: what is asked, under which prompt and budget  ->  play, which tells show and adds up in report
                                                                  |
               prompts, knowledge, tools, actions  ->  agent  ->  backend: the user's model server, or the script's
"""
