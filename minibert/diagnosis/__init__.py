"""The checker that names the mistake: probe model, catalogue of known mistakes, diagnosis.

Read in this order: `probe.py`, `catalogue/mistake.py`, one of `catalogue/`, `traces.py`,
`relations.py`, `search.py`, `checker.py`, `students.py`, `command.py`; `function_check.py` judges
single functions, for the exercises.
"""
