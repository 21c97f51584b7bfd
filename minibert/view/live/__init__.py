"""BERT alive in one HTML file: the tokenizer and the model a third time, in plain JavaScript.

Read the files that are called as those of `core/` in the same order, after `layers.js`, which holds
what PyTorch gives there. Then `mistakes.js`, the switches that break it, and `page.py`, which joins
all of them, the weights and `page.html` into one file that needs no network.
"""
