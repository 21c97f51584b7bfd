"""What one asks of a trained BERT: a head, its batches, its answer.

Read pretrained.py first (fill the blank, does B follow A: the heads that pretraining leaves), then
classification.py (one class a text, under a new layer) and labelled.py (its texts and labels).
"""
