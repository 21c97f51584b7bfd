"""The same numbers as `core/`, sooner. Read `bert.py` first, whose docstring tells the tricks, then
`block.py` (one block), `linear.py` (one product, four ways) and `unpadded.py` (attention without
padding). Everyone else asks `Engine` for a `FastBert`.
"""
