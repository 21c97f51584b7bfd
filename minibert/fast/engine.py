"""Which form of the model should run the work at hand: plain at once, or packed for long work."""

from minibert.core.model import BertModel
from minibert.fast.bert import FastBert

PACKING_PAYS = 2000  # tokens that take about as long as packing does


class Engine:
    """Hands out a `FastBert` for the work at hand, and keeps it for the next.

    Packing takes time and memory. Weights are packed once as many tokens were asked for as could
    be read in that time: a program that embeds one sentence starts at once, and one that embeds
    thousands loses nothing. Packed and plain numbers differ by rounding.
    """

    def __init__(self, model: BertModel):
        self.model = model
        self.asked = 0
        self.kept: dict[tuple, FastBert] = {}

    def for_tokens(
        self,
        tokens: int,
        precision: str | None = None,
        *,
        always_packed: bool = False,
        compile: bool = False,
    ) -> FastBert:
        """The model as it should run for the next `tokens` tokens."""
        self.asked += tokens
        packed = always_packed or compile or self.asked >= PACKING_PAYS or precision is not None
        wish = (precision, packed, compile)
        if wish not in self.kept or not self.kept[wish].is_current():
            self.kept = {known: fast for known, fast in self.kept.items() if fast.is_current()}
            self.kept[wish] = FastBert(self.model, precision, packed=packed, compile=compile)
        return self.kept[wish]
