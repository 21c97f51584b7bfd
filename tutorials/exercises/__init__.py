"""Exercises: one function in each file, to be written by you. `python -m tutorials.check` judges.

Begin with `ex01_basic_tokenize.py`. Nothing is hidden: the library is the answer key, and
`--reveal` shows it.
"""
