"""Texts -> ids and batches: what `core/rules.py`, `wordpiece.py` and `inputs.py` define, but fast.

Start with `tokenizer.py` (what users call) and `batch.py` (what they get), then `pieces.py` (a text
to its ids, with `trie.py` and `origins.py` below it) and `truncation.py`. `vocabulary.py`,
`arguments.py` and `files.py` say what may come in, `saving.py` what is written; `explain.py` shows
each step.

The tokenizers of RoBERTa, ALBERT and their like: `bpe.py` and `unigram.py`, on what they share in
`pipeline.py`, `normalisers.py` and `character_tables.py`; `compiled.py`, `families.py` and
`sentencepiece.py` read their files.
"""
