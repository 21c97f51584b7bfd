"""Where weights come from: a vocabulary, examples, the pretraining loop, and its measures.

Read in this order:

    vocabulary.py   text -> the word pieces worth having
    data.py         text -> masked words and pairs of segments, prepared once, by the parts
                    data_settings.py, corpus.py, segments.py, masking.py, rows.py
    batches.py      prepared examples -> batches, in an order that can be resumed
    step.py         one training step: losses, optimizer, learning rate
    checkpoint.py   stop, and go on as if nothing had happened
    counts.py       starting values for a model with little time
    lengthen.py     a model of short rows -> one of long rows
    pretrain.py     the loop
    labelled.py     labelled texts -> batches of like lengths
    classifier.py   BERT under one new layer, saved and loaded
    finetune.py     all of it trained on labelled texts
    evaluate.py     how good is it: held-out words, grammar, sentiment
    commands.py     the five commands of the command line, with options.py
"""
