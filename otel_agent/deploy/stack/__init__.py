"""The stack around the agents: what is written into its folder, whether that is right, and its servers on this machine.

Decides nothing about the command line. `contents` has the files, `writing` puts them down, `checking` asks the servers'
own tools about them, `servers` says what is started and how, `running` starts and stops it.
"""
