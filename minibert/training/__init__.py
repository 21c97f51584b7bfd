"""Where weights come from: a vocabulary, examples, pretraining, fine-tuning, and their measures.

Read in this order: wordpiece_trainer.py (text -> the word pieces worth having); prepare.py (text
-> examples, once), which is made of corpus.py, segments.py, masking.py and rows.py; batches.py
(examples -> batches, in an order that can be resumed) and fresh_masks.py (which hides other words
in each of them); step.py (losses, optimizer, one step);
settings.py (all the numbers of a run); start.py (starting values from counts, a longer position
table); checkpoint.py and run_log.py (stop and go on, what was measured); loop.py (what all runs
do); pretrain.py (hidden words, next sentences); finetune.py (all of it trained on labelled texts);
sentence_data.py and sentences.py (vectors that say what a text means); evaluate_words.py,
evaluate_grammar.py, evaluate_sentiment.py and evaluate_similarity.py (how good is it).
"""
