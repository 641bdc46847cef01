"""What an operator installs around the agents: collector, rules, dashboards, and the stack that ties them together.

Decides what stands in those files and how the local servers are started. Knows nothing of a running agent.
"""
