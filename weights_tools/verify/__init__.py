"""Is this model the one it claims to be, and do we compute it right?

Read `command.py`, then its three kinds of evidence, `check_files.py`, `check_golden.py` (with
`pack.py`, which reads the packs of `golden/`) and `check_transformers.py`, then `verdict.py`.
"""
