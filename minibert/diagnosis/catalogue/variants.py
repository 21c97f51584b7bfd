"""Known mistakes of ports of the variants. They stand apart from the catalogue of BERT's, for each
is a mistake in one model alone, and some of them are what another model does.

>>> MISTAKES["roberta"]["positions_from_zero"].symptom
'The positions are counted from 0, as in BERT.'
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minibert.diagnosis.catalogue.mistake import Mistake, _paragraphs, override
from minibert.tokenizer.bpe import BYTE_LETTERS, ByteLevelBPE, find_words, spell_bytes
from minibert.variants.deberta import DebertaAttention, Distances
from minibert.variants.table import TABLE

MISTAKES: dict[str, dict[str, Mistake]] = {name: {} for name in TABLE}
ROBERTAS = ("roberta", "xlm-roberta", "camembert")
OTHERS = tuple(name for name in TABLE if name != "bert")


def port(*names: str, part: str, seen: str = "") -> Callable[[Callable[[Any], None]], Any]:
    """Enter the decorated change for these variants; its docstring is as that of `mistake`."""

    def enter(change: Callable[[Any], None]) -> Callable[[Any], None]:
        symptom, *hints = _paragraphs(change.__name__, change.__doc__ or "", "")
        for name in names:
            MISTAKES[name][change.__name__] = Mistake(
                change.__name__, part, "model", symptom, tuple(hints), seen, part, change
            )
        return change

    return enter


def _place(model: Any, positions: Callable[[Tensor], Tensor]) -> None:
    def forward(original: Any, input_ids: Tensor, **others: Any) -> Tensor:
        return original(input_ids, **{**others, "position_ids": positions(input_ids)})

    override(model.bert.embeddings, "forward", forward)


@port(*ROBERTAS, part="position", seen="ports between BERT and RoBERTa")
def positions_from_zero(model):
    """The positions are counted from 0, as in BERT.

    ? The table has 514 rows, and a text at most 512 tokens. Which rows does nobody read?
    @ Look at the position vectors, before anything is added.
    ! Count from pad_token_id + 1, which is 2; padding has the position pad_token_id.
    """
    _place(model, lambda ids: torch.arange(ids.shape[1]).expand_as(ids))


@port(*ROBERTAS, part="position", seen="ports that leave row 1 for padding and start there")
def positions_from_pad(model):
    """The positions are counted from pad_token_id, one too few.

    ? Which position has padding, and may the first token have the same?
    @ Compare your first position vector with the rows of the table.
    ! The first token has pad_token_id + 1.
    """
    pad = model.config.pad_token_id
    real = model.bert.embeddings.pad
    _place(model, lambda ids: (ids != real).long().cumsum(dim=1) * (ids != real) + pad - 1)


@port(*ROBERTAS, part="position", seen="position_ids = arange(T) + 2")
def positions_count_padding(model):
    """The positions are the columns of the batch plus 2; padding on the left is counted.

    ? With padding on the left, what is the position of the first token that is none?
    @ Right-padded texts are right; left-padded ones are not.
    ! Take a running sum of (input_ids != pad_token_id); where there is a token, add pad_token_id.
    """
    first = model.config.pad_token_id + 1
    _place(model, lambda ids: (torch.arange(ids.shape[1]) + first).expand_as(ids))


@port("distilbert", part="position", seen="files of DistilBERT whose position table is not read")
def sine_positions(model):
    """The positions are sine and cosine waves; the learned table is not used.

    ? DistilBERT's config has sinusoidal_pos_embds. What does it say, and when was it used?
    @ The waves were a start of training at most; the file holds a learned table.
    ! Look positions up in the table.
    """

    class Waves(nn.Module):
        def forward(self, ids: Tensor) -> Tensor:
            H = model.config.hidden_size
            half = torch.arange(0, H, 2, dtype=torch.float64)
            angle = ids[..., None] / 10000 ** (half / H)
            return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)

    model.bert.embeddings.position = Waves()


@port("distilbert", "albert", part="norm", seen="renaming by guess")
def norms_exchanged(model):
    """The two LayerNorms of the blocks stand in each other's place.

    ? Which norm comes first, and which of the file's two names does it have?
    @ DistilBERT: sa_layer_norm follows attention. ALBERT: attention.LayerNorm does, and
    full_layer_layer_norm comes last.
    ! Exchange the two names in your table.
    """
    for block in dict.fromkeys(model.bert.encoder.blocks):
        block.attention_norm, block.output_norm = block.output_norm, block.attention_norm


def extra_segments(rows: int, width: int) -> Tensor:
    """What the checker fills a port's table of segments with, where the file has none."""
    return torch.arange(1.0, rows * width + 1).sin().view(rows, width)


@port("distilbert", "deberta-v2", part="segment", seen="BERT's embeddings kept")
def segments_added(model):
    """Segment vectors are added.

    ? The tokenizer gives token_type_ids. Does the file hold a table for them?
    @ Look at the sum that is normalised at the entrance: how many vectors are in it?
    ! Take token_type_ids, for callers that pass them, and leave them unread.
    """
    table = extra_segments(2, model.config.hidden_size).to(model.bert.embeddings.token.weight)
    model.bert.embeddings.segment = nn.Embedding.from_pretrained(table)


def _set_epsilon(model: Any, epsilon: float) -> None:
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = epsilon


@port(*[name for name in OTHERS if name not in ROBERTAS], part="norm", seen="nn.LayerNorm(H)")
def epsilon_of_pytorch(model):
    """The LayerNorms have the epsilon 1e-5, which is PyTorch's default.

    ? Which epsilon does config.json say, and does it reach each of your LayerNorms?
    @ The first LayerNorm is that of the embeddings; small vectors show it.
    ! Give every nn.LayerNorm the config's layer_norm_eps (in DistilBERT it is always 1e-12).
    """
    _set_epsilon(model, 1e-5)


@port(*ROBERTAS, part="norm", seen="BERT's epsilon kept in RoBERTa")
def epsilon_of_bert(model):
    """The LayerNorms have the epsilon 1e-12, which is BERT's.

    ? Which epsilon does config.json say, and does it reach each of your LayerNorms?
    @ The first LayerNorm is that of the embeddings; small vectors show it.
    ! Give every nn.LayerNorm eps=config.layer_norm_eps: the published files say 1e-5.
    """
    _set_epsilon(model, 1e-12)


def _exchange_gelu(model: Any, approximate: str) -> None:
    for module in model.modules():
        if isinstance(module, nn.GELU):
            module.approximate = approximate


@port("albert", part="gelu", seen="ALBERT with BERT's GELU")
def exact_gelu(model):
    """GELU is the exact one, of erf.

    ? What does config.json of ALBERT say for hidden_act?
    @ The difference is below 0.0005 in each number, and grows with each of the blocks.
    ! "gelu_new" is the tanh approximation: nn.GELU(approximate="tanh").
    """
    _exchange_gelu(model, "none")


@port(*[name for name in OTHERS if name != "albert"], part="gelu", seen="ALBERT's GELU elsewhere")
def tanh_gelu(model):
    """GELU is the tanh approximation.

    ? What does config.json say for hidden_act?
    @ The difference is below 0.0005 in each number, and grows with each of the blocks.
    ! "gelu" is exact: nn.GELU().
    """
    _exchange_gelu(model, "tanh")


@port("albert", part="blocks", seen="loading the one block of the file into one block")
def applied_once(model):
    """The block is applied once.

    ? The file holds one block. How many does num_hidden_layers say?
    @ Your output is what leaves the first application.
    ! Apply the same block num_hidden_layers times.
    """
    model.bert.encoder.blocks = model.bert.encoder.blocks[:1]


@port("albert", "electra", part="project", seen="nn.Linear(E, H, bias=False)")
def projection_without_bias(model):
    """The matrix from the token table's width to that of the hidden states has no bias.

    ? What does the file hold beside that matrix?
    @ It shows in what enters the first block, by the same vector at each token.
    ! Use nn.Linear(embedding_size, hidden_size) with its bias.
    """
    model.bert.embeddings.project.bias = None


@port("albert", "electra", part="project", seen="norm and projection in the other order")
def projection_without_norm(model):
    """The vectors are not normalised before the matrix that makes hidden states of them.

    ? How wide is the LayerNorm of the embeddings: as the table, or as the hidden states?
    @ Sum, LayerNorm, then the projection.
    ! Normalise at the table's width, then project.
    """
    model.bert.embeddings.norm = nn.Identity()


@port("electra", part="replaced_token", seen="the head of a classifier in its place")
def discriminator_without_activation(model):
    """The discriminator's head is two linear layers with nothing between.

    ? What would two linear layers in a row be?
    @ The states are right; only the scores differ.
    ! dense, GELU, then one score a token.
    """
    model.replaced_token.activation = nn.Identity()


def _attentions(model: Any) -> list[DebertaAttention]:
    return [block.attention for block in model.bert.encoder.blocks]


@port("deberta-v2", part="scale", seen="the scale of BERT")
def scale_of_bert(model):
    """The scores are divided by the root of the head size, as in BERT.

    ? How many products are added to one score?
    @ Look at the scores of the first block.
    ! Divide each of the three products by sqrt(3 * head_size).
    """
    for attention in _attentions(model):
        attention.divisor = (model.config.head_size) ** 0.5


def _change_distances(model: Any, change: Callable[[Distances], Distances]) -> None:
    def forward(original: Any, hidden_states: Tensor, distances: Distances, explicit: bool = False):
        return original(hidden_states, change(distances), explicit)

    for attention in _attentions(model):
        override(attention, "forward", forward)


@port("deberta-v2", part="distance", seen="j - i for i - j")
def distances_reversed(model):
    """The distance is counted from the key to the query.

    ? Is the row of the token before you above the middle of the table, or below?
    @ The row of query i and key j is that of i - j.
    ! Take arange(T)[:, None] - arange(T).
    """
    _change_distances(model, lambda d: d._replace(rows=d.rows.mT))


@port("deberta-v2", part="distance", seen="norm_rel_ebd overlooked")
def distances_without_norm(model):
    """The table of distances is used as it lies in the file.

    ? What does norm_rel_ebd say, and what is encoder.LayerNorm for?
    @ The distances' keys and queries differ from the first block on.
    ! Apply encoder.LayerNorm to the table, once, before the blocks.
    """
    table = model.bert.encoder.distance.weight
    _change_distances(model, lambda d: d._replace(table=table))


@port("deberta-v2", part="distance", seen="position_buckets overlooked")
def distances_without_buckets(model):
    """Far distances are cut off, in place of sharing rows by their logarithm.

    ? What does position_buckets say?
    @ Near tokens are right; those beyond half of the buckets are not.
    ! Beyond position_buckets / 2 the row grows with the logarithm of the distance.
    """
    span = model.config.span

    def cut(distances: Distances) -> Distances:
        place = torch.arange(len(distances.rows))
        rows = (place[:, None] - place + span).clamp(0, 2 * span - 1)
        return distances._replace(rows=rows)

    _change_distances(model, cut)


def _without(model: Any, projection: str) -> None:
    """Let the distances' queries or keys be 0: the product that needs them is missing."""
    for attention in _attentions(model):
        linear = getattr(attention, projection)
        span = model.config.span

        def forward(original: Any, x: Tensor, span: int = span) -> Tensor:
            made = original(x)
            return made * 0 if x.shape[:2] == (1, 2 * span) else made

        override(linear, "forward", forward)


@port("deberta-v2", part="product", seen="the position-to-content product left out")
def key_to_distance_missing(model):
    """The product of the key's content with the distance is missing.

    ? pos_att_type names two products besides content with content. Which are yours?
    @ "p2c" is the key's content with the distance's query.
    ! Add it, gathered by the same rows, and transposed.
    """
    _without(model, "query")


@port("deberta-v2", part="product", seen="the content-to-position product left out")
def query_to_distance_missing(model):
    """The product of the query's content with the distance is missing.

    ? pos_att_type names two products besides content with content. Which are yours?
    @ "c2p" is the query's content with the distance's key.
    ! Add it, gathered by the row of each distance.
    """
    _without(model, "key")


# Wrong functions (text, vocab, merges) -> tokens of byte-level BPE, RoBERTa's tokenizer.
TEXT_MISTAKES: dict[str, Mistake] = {}


def byte_level(text: str, vocab: dict[str, int], merges: list[tuple[str, str]]) -> list[str]:
    """The tokens as they must be.

    >>> letters = {letter: number for number, letter in enumerate([*BYTE_LETTERS, "hi"])}
    >>> byte_level("hi hi", letters, [("h", "i")])
    ['hi', 'Ġ', 'hi']
    """
    names = {"unk_token": BYTE_LETTERS[0]}
    return ByteLevelBPE(vocab, merges=merges, special_tokens=names).pieces(text).tokens


def wrong_tokens(seen: str) -> Callable[[Callable[..., list[str]]], Callable[..., list[str]]]:
    """Enter the decorated function; its docstring is as that of `mistake`."""

    def enter(change: Callable[..., list[str]]) -> Callable[..., list[str]]:
        name = change.__name__
        symptom, *hints = _paragraphs(name, change.__doc__ or "", "")
        TEXT_MISTAKES[name] = Mistake(
            name, "tokenizer", "function", symptom, tuple(hints), seen, name, change
        )
        return change

    return enter


@wrong_tokens(seen="text.split() before BPE, as for WordPiece")
def without_leading_space(text, vocab, merges):
    """The words are spelled without the space in front of them.

    ? "Hello" and " Hello" have different ids. Which one stands in the middle of a text?
    @ Look at the second word: its first token begins with Ġ.
    ! Cut the text into words that keep the space before them; never split at spaces first.
    """
    return [token for word in text.split() for token in byte_level(word, vocab, merges)]


@wrong_tokens(seen="add_prefix_space=True where config says False")
def space_put_before(text, vocab, merges):
    """A space is put before the text.

    ? What does tokenizer_config.json say for add_prefix_space?
    @ Look at the first token alone.
    ! Leave the text as it is, unless add_prefix_space is true.
    """
    return byte_level(text if text.startswith(" ") else f" {text}", vocab, merges)


@wrong_tokens(seen="WordPiece's longest match on a vocab.json")
def longest_match(text, vocab, merges):
    """The longest token of the vocabulary is taken first, from the left, as in WordPiece.

    ? A token in the vocabulary may be one that the merges do not lead to. What are ranks for?
    @ Look at a word of several tokens: yours has the longest one in front.
    ! Begin with the bytes, and join the pair of lowest rank until none is left.
    """
    tokens = []
    for match in find_words(text):
        word = spell_bytes(match[0])
        while word:
            end = next(n for n in range(len(word), 0, -1) if word[:n] in vocab)
            tokens.append(word[:end])
            word = word[end:]
    return tokens


@wrong_tokens(seen="BERT's uncased rules kept")
def lower_cased(text, vocab, merges):
    """The text is lower-cased first.

    ? Is there a rule that changes letters before byte-level BPE?
    @ Look at a word with a capital.
    ! Change nothing: RoBERTa's vocabulary is cased.
    """
    return byte_level(text.lower(), vocab, merges)
