"""Find the mistake in a BERT of yours, and name it: a probe, known mistakes, a diagnosis.

Read `probe.py`, `catalogue/`, `traces.py`, `compare.py`, `relations.py`, `search.py`,
`stepwise.py`, `contract.py`, `wrong_numbers.py`, `train_mode.py`, `gradients.py`, `checker.py`;
then `students.py`, `building.py`, `naming.py` and `targets.py`, what is checked and where it comes
from, and `report.py`. `subject.py`, `results.py`, `dependence.py` and `function_check.py` do the
same for single functions, for the exercises.
"""
