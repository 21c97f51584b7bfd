"""Texts -> vectors. Read downhill: `embed.py` (texts in, vectors out), `windows.py` (what goes
through the model together), `pooling.py` (a vector per token -> one per text), `plan.py` and
`recipe.py` (what the caller and the model ask for); then `tokens.py` (every token, words),
`file.py` (a file of any length), `nearest.py` (cosines, the nearest of many),
`mining.py` (pairs and groups that are alike; vectors as int8 and as bits).
"""
