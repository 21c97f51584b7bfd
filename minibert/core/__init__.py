"""BERT, whole, and nothing else; it imports nothing of minibert outside itself.

Read nine files in this order: config, rules, wordpiece, inputs, embeddings, attention, encoder,
model, heads. Two more serve them: `checks` says in words what BERT refuses, `unicode_classes`
holds the character tables behind the rules.
"""
