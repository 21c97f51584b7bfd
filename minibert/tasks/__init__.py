"""What one asks of a trained BERT: a head, its batches, its answer.

Read pretrained.py first (fill the blank, does B follow A: the heads that pretraining leaves), then
task.py (what a task is) and a task: classification.py (one class, several labels or a number, for a
text or a pair), tokens.py (a class for each word), questions.py (the part of a text that answers),
choices.py (one of several continuations). labelled.py reads tables and makes batches, measures.py
says how good answers are, saved.py loads and writes fine-tuned models, families.py says
how variants differ, and summary.py, which trains nothing, finds the sentences that say most.
"""
