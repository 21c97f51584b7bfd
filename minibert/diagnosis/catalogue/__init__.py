"""Known mistakes of a BERT, each a wrong function whose docstring says what is wrong.

Read in this order: `mistake.py`, what a mistake is and how it gets into a model; `attention.py`, or
any other part; `all.py`, the whole catalogue in the order in which mistakes are applied.
"""
