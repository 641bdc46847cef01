"""What is kept on disk: prompts, their lock, what was released over the configuration, and the history of that.

Decides how it is written, so that a reader sees the old or the new and never half of it, and two writers lose nothing.
What it means is for the rooms of rules.
"""
