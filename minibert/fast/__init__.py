"""The same numbers as `core/`, sooner. Read `bert.py` first, whose docstring tells the tricks, then
`block.py` (one block), `linear.py` (one product, four ways), `unpadded.py` (attention without
padding), and `same.py` and `readable.py` (what if the model is no longer the one that was packed).
Everyone else asks `Engine` for what runs the model.
"""
