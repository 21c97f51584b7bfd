"""Find the mistake in a BERT of yours, and name it: a probe, known mistakes, a diagnosis.

Read `probe.py`, `catalogue/`, `traces.py`, `compare.py`, `relations.py`, `search.py`,
`stepwise.py`, `train_mode.py`, `gradients.py`, `checker.py`; then `students.py`, `naming.py` and
`targets.py`, what is checked and where it comes from, and `report.py`. `function_check.py` does
the same for single functions, for the exercises.
"""
