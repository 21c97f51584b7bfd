"""`minibert COMMAND`, typed in a terminal: thin, each command calls one function of the library.

Read `main.py`, which runs a command and gives its exit code; `options.py`, what the commands
share; then a file of commands, each with its options beside what it does: `text.py` (the
shortest), `vectors.py`, `view.py`, `training.py`, `tasks.py`, `serve.py`, `diagnose.py`.
"""
