"""What a BERT does, as pictures: SVG without any drawing library, and pages that open from disk.

    from minibert import view
    view.attention(bert, "The river bank was flooded.").save("bank.html")

Every function gives a `Picture`: `.svg` is text, the same in every run; `.page()` is a page that
needs no network; `.save(path)` writes either; a notebook shows it by itself.
"""

from minibert.view.attention import attention
from minibert.view.lens import lens
from minibert.view.picture import Picture
from minibert.view.senses import word
from minibert.view.shapes import shapes
from minibert.view.tokens import tokenization

__all__ = [
    "Picture",
    "attention",
    "lens",
    "shapes",
    "tokenization",
    "word",
]
