"""What others changed in BERT, each as a diff: classes of `core/` with a method or two of their
own, and the rows of the name table that are other.

In reading order: distilbert, roberta, albert, electra, deberta. `config.py` is what their
configs have in common, `table.py` says which file is which model's.
"""
