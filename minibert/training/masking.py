"""Hide words: 15 % of the pieces are chosen, and of these 80 % become [MASK], 10 % another piece,
10 % stay as they are.

Special tokens are never chosen, and never drawn as "another piece". Google's code counts them
among those of which 15 % are taken, and draws other pieces from the whole vocabulary, special
tokens too.

Source: Devlin et al. 2018, section 3.1 and appendix A.1; google-research/bert
`create_pretraining_data.py`.
"""

import random
from collections.abc import Sequence

from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.segments import below


class Masker:
    """Hides words. `special_ids` are never chosen, and never put in another piece's place.

    mask_share   the share of pieces that are chosen
    whole_words  choose all pieces of a word, or none
    """

    def __init__(self, tokenizer: Tokenizer, mask_share: float = 0.15, whole_words: bool = False):
        self.mask_share = mask_share
        self.mask_id = tokenizer.mask_id
        self.special_ids = tokenizer.special_ids
        self.ordinary = [n for n in sorted(tokenizer.inverse) if n not in self.special_ids]
        tokens = tokenizer.inverse.items()
        self.inner = (
            {n for n, t in tokens if tokenizer.engine.continues(t)} if whole_words else set()
        )

    def words(self, ids: Sequence[int]) -> list[list[int]]:
        """The places that are chosen together: single pieces, or whole words."""
        words: list[list[int]] = []
        for place, number in enumerate(ids):
            if number in self.special_ids:
                continue
            if number in self.inner and words and words[-1][-1] == place - 1:
                words[-1].append(place)
            else:
                words.append([place])
        return words

    def hide(self, ids: list[int], rng: random.Random) -> tuple[list[int], list[int]]:
        """Hide words in `ids`, in place; the places chosen, in order, and what stood there."""
        words = self.words(ids)
        room = max(1, round(self.mask_share * sum(map(len, words))))
        places: list[int] = []
        for word in sorted(words, key=lambda _: rng.random()):
            if len(places) + len(word) <= room:
                places += word
        places.sort()
        labels = [ids[place] for place in places]
        for place in places:
            draw = rng.random()
            if draw < 0.8:
                ids[place] = self.mask_id
            elif draw < 0.9:
                ids[place] = self.ordinary[below(len(self.ordinary), rng)]
        return places, labels
