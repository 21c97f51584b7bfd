"""Known mistakes of the tokenizer, of sentence pairs, and of key names: wrong functions.

Each stands where a function of `functions.py` should stand, and takes the same arguments.
"""

import itertools
import re
import string
import unicodedata
from functools import partial

from minibert.core.inputs import arrange
from minibert.core.rules import (
    RULES,
    clean,
    isolate_ideographs,
    isolate_punctuation,
    lowercase,
    strip_accents,
)
from minibert.core.wordpiece import longest_match_first
from minibert.diagnosis.catalogue.mistake import Variant, mistake
from minibert.diagnosis.functions import rename_key


def words_by(text, **instead):
    """The right words, but for the rules named in `instead`, which are replaced."""
    for rule in RULES:
        text = instead.get(rule.__name__, rule)(text)
    return text.split()


def wrong_rule(rule, **others):
    """Enter the decorated function as a wrong stand-in for one rule of basic_tokenize."""

    def enter(replacement):
        change = Variant(words_by, **{rule.__name__: replacement})
        change.__name__, change.__doc__ = replacement.__name__, replacement.__doc__
        where = {"kind": "function", "replaces": "basic_tokenize", "changes": rule.__name__}
        mistake("tokenizer", **where, **others)(change)
        return replacement

    return enter


wrong_pieces = partial(mistake, "tokenizer", kind="function", replaces="wordpiece")
wrong_pair = partial(mistake, "batch", kind="function", replaces="arrange_pair")


@wrong_rule(strip_accents, seen="llama.cpp#5496; google-research/bert#886")
def accents_kept(text):
    """Accents are kept.

    ? Which word does the vocabulary of an uncased model hold: 'cafe' or 'café'?
    @ Uncased is more than lower case.
    ! Normalise to NFD and drop the marks (category Mn).
    """
    return text


@wrong_rule(strip_accents, seen="apache/opennlp#1073")
def accents_composed(text):
    """Text is normalised to NFC, so that letter and accent stay one character.

    ? In which form does 'é' fall into a letter and a mark: NFC or NFD?
    @ The marks can only be dropped once they stand alone.
    ! unicodedata.normalize('NFD', text), then drop the marks (category Mn).
    """
    return unicodedata.normalize("NFC", text)


@wrong_rule(strip_accents, seen="llama.cpp#5496")
def accented_letters_dropped(text):
    """Accented letters are dropped as a whole.

    ? What is left of 'Kantō' when everything outside ASCII is dropped?
    @ An accent goes, its letter stays.
    ! Normalise to NFD and drop the marks (category Mn) alone.
    """
    composed = unicodedata.normalize("NFC", text)
    return "".join(
        char
        for char in composed
        if len(unicodedata.normalize("NFD", char)) == 1 and not unicodedata.combining(char)
    )


@wrong_rule(lowercase, seen="cased settings with uncased weights")
def capitals_kept(text):
    """Capitals are kept.

    ? Which word does the vocabulary of an uncased model hold: 'Paris' or 'paris'?
    @ clean, ideographs, accents, lower case, punctuation, split at spaces.
    ! text.lower() for an uncased model.
    """
    return text


@wrong_rule(isolate_punctuation, seen="apache/opennlp#1073; string.punctuation")
def punctuation_ascii_only(text):
    """Only ASCII punctuation is split off.

    ? Is a curly quote punctuation? A Spanish question mark turned upside down?
    @ Unicode has seven categories of punctuation, all beginning with P.
    ! ASCII symbols, and every character whose category begins with P.
    """
    marks = string.punctuation
    return "".join(f" {char} " if char in marks else char for char in text)


@wrong_rule(isolate_punctuation, seen="tokenizers built on unicodedata alone")
def punctuation_unicode_only(text):
    """Only Unicode's punctuation is split off; ASCII symbols such as $ and + are not.

    ? Which category has '$' in Unicode, and is it punctuation for BERT?
    @ All ASCII characters that are neither letter, digit nor space count as punctuation.
    ! Codes 33-47, 58-64, 91-96 and 123-126, and every category that begins with P.
    """
    return "".join(f" {c} " if unicodedata.category(c).startswith("P") else c for c in text)


@wrong_rule(isolate_punctuation, seen="text.split()")
def punctuation_not_split(text):
    """Punctuation is not split off.

    ? Is 'stop!' one word or two?
    @ clean, ideographs, accents, lower case, punctuation, split at spaces.
    ! Every punctuation character becomes a word.
    """
    return text


@wrong_rule(isolate_punctuation, seen="regular expressions such as \\w+|[^\\w\\s]+")
def punctuation_in_runs(text):
    """Runs of punctuation stay together.

    ? How many words is '...'?
    @ Each punctuation character is a word of its own.
    ! Put spaces around every single one.
    """
    runs = itertools.groupby(text, key=lambda char: isolate_punctuation(char) != char)
    return "".join(f" {''.join(run)} " if is_mark else "".join(run) for is_mark, run in runs)


@wrong_rule(isolate_punctuation, seen="cleaning habits from bag-of-words models")
def punctuation_dropped(text):
    """Punctuation is dropped.

    ? Does BERT read the full stop?
    @ Nothing that is visible is dropped, only split off.
    ! Every punctuation character becomes a word.
    """
    return "".join(" " if isolate_punctuation(char) != char else char for char in text)


@wrong_rule(isolate_ideographs, seen="apache/opennlp#1073; huggingface/transformers#15156")
def ideographs_not_split(text):
    """Chinese characters are not split from each other.

    ? Where are the spaces in a Chinese sentence?
    @ clean, ideographs, accents, lower case, punctuation, split at spaces.
    ! Put spaces around each character of the CJK blocks.
    """
    return text


@wrong_rule(clean, seen="apache/opennlp#1073")
def controls_kept(text):
    """Control and format characters are kept.

    ? Is 'a' + zero-width space + 'b' one word, and which?
    @ Invisible characters are deleted before anything else.
    ! Delete the categories Cc and Cf, except tab and line ends, which are spaces.
    """
    return text


def cut(word, vocab, *, mark="##", ends=None, unknown=lambda pieces: ["[UNK]"]):
    """Cut a word into pieces with a part of the rule open to change; unchanged, it is wordpiece."""
    pieces, start = [], 0
    while start < len(word) <= 100:
        prefix = mark if start else ""
        tried = ends(start) if ends else range(len(word), start, -1)
        end = next((end for end in tried if prefix + word[start:end] in vocab), None)
        if end is None:
            return unknown(pieces)
        pieces.append(prefix + word[start:end])
        start = end
    return pieces or ["[UNK]"]


@wrong_pieces(seen="google-research/bert#763; apache/opennlp#1073")
def unknown_by_piece(word, vocab):
    """The pieces that were found are kept, and only the rest of the word becomes [UNK].

    ? What becomes of a word of which only the beginning is in the vocabulary?
    @ A word is unknown as a whole.
    ! Return ['[UNK]'] alone as soon as a piece is not found.
    """
    return cut(word, vocab, unknown=lambda pieces: [*pieces, "[UNK]"])


@wrong_pieces(seen="apache/opennlp#1073")
def unknown_by_character(word, vocab):
    """Each unknown character becomes one [UNK], and the search goes on behind it.

    ? What becomes of a word of which only the beginning is in the vocabulary?
    @ A word is unknown as a whole.
    ! Return ['[UNK]'] alone as soon as a piece is not found.
    """
    pieces, start = [], 0
    while start < len(word) <= 100:
        prefix = "##" if start else ""
        ends = range(len(word), start, -1)
        end = next((e for e in ends if prefix + word[start:e] in vocab), None)
        pieces.append("[UNK]" if end is None else prefix + word[start:end])
        start = start + 1 if end is None else end
    return pieces or ["[UNK]"]


@wrong_pieces()
def no_continuation_mark(word, vocab):
    """Pieces inside a word are looked up without ##.

    ? How does the vocabulary tell 'able' alone from 'able' in 'unable'?
    @ Every piece but the first is looked up with a prefix.
    ! '##' + characters, for all pieces but the first.
    """
    return cut(word, vocab, mark="")


@wrong_pieces()
def shortest_match(word, vocab):
    """The shortest piece is taken, not the longest.

    ? 'un' and 'una' are both in the vocabulary. Which one comes first in 'unaffable'?
    @ The search shortens the end of the piece, it does not lengthen it.
    ! Try the whole rest of the word first, then one character less, and so on.
    """
    return cut(word, vocab, ends=lambda start: range(start + 1, len(word) + 1))


@wrong_pieces()
def matched_from_the_end(word, vocab):
    """The longest pieces are taken from the end of the word.

    ? From which side is a word cut?
    @ The first piece is fixed first.
    ! Start at the first character.
    """
    pieces, end = [], len(word)
    while end > 0 and len(word) <= 100:
        start = next((s for s in range(end) if ("##" if s else "") + word[s:end] in vocab), None)
        if start is None:
            return ["[UNK]"]
        pieces.insert(0, ("##" if start else "") + word[start:end])
        end = start
    return pieces or ["[UNK]"]


@wrong_pieces(seen="apache/opennlp#1073")
def no_length_limit(word, vocab):
    """Words of more than 100 characters are cut, too.

    ? What does the reference do with a word of 101 characters?
    @ There is a limit, max_input_chars_per_word.
    ! Return ['[UNK]'] for words longer than 100 characters.
    """
    return longest_match_first(word, vocab) or ["[UNK]"]


@wrong_pair(seen="huggingface/transformers#1561")
def last_sep_missing(first, second, length):
    """The [SEP] at the end is missing.

    ? Draw the row for two sentences of one word each. How many places does it have?
    @ There are two [SEP], one behind each sentence.
    ! [CLS] A [SEP] B [SEP].
    """
    tokens, segments, mask = arrange(first, second, length + 1)
    place = len(first) + len(second) + 2
    return (
        tokens[:place] + tokens[place + 1 :],
        segments[:place] + segments[place + 1 :],
        mask[:place] + mask[place + 1 :],
    )


@wrong_pair(seen="lucidrains/RETRO-pytorch#25")
def cls_missing(first, second, length):
    """[CLS] is missing.

    ? Draw the row for two sentences of one word each. How many places does it have?
    @ The row begins with a token that is no word.
    ! [CLS] A [SEP] B [SEP].
    """
    tokens, segments, mask = arrange(first, second, length + 1)
    return tokens[1:], segments[1:], mask[1:]


@wrong_pair()
def sep_in_second_segment(first, second, length):
    """The first [SEP] is counted to the second sentence.

    ? To which sentence does the [SEP] between the two belong?
    @ Only the segments differ.
    ! Segment 0 runs up to and including the first [SEP].
    """
    tokens, segments, mask = arrange(first, second, length)
    return tokens, [*segments[: len(first) + 1], 1, *segments[len(first) + 2 :]], mask


@wrong_pair(seen="a widespread tutorial line, segments_ids = [1] * len(tokens)")
def padding_in_second_segment(first, second, length):
    """The segments are all 1, or padding gets segment 1.

    ? Which number has the first sentence, and which has padding?
    @ Only the segments differ.
    ! 0 for [CLS] A [SEP] and for padding, 1 for B [SEP].
    """
    tokens, segments, mask = arrange(first, second, length)
    return tokens, [seg if real else 1 for seg, real in zip(segments, mask, strict=True)], mask


@wrong_pair(seen="minBERT, where the segments are fixed to 0")
def segments_all_zero(first, second, length):
    """The segments are all 0.

    ? How does the model know where the second sentence begins?
    @ Only the segments differ.
    ! 0 for [CLS] A [SEP], 1 for B [SEP].
    """
    tokens, segments, mask = arrange(first, second, length)
    return tokens, [0] * len(segments), mask


@wrong_pair(seen="huggingface/transformers#278")
def padding_not_masked(first, second, length):
    """The mask is 1 at padding, too.

    ? Which places may be read?
    @ Only the mask differs.
    ! 1 for real tokens ([CLS] and [SEP] are real), 0 for [PAD].
    """
    tokens, segments, mask = arrange(first, second, length)
    return tokens, segments, [1] * len(mask)


@wrong_pair(seen="nyu-mll/jiant#465; pytorch/pytorch#120488")
def mask_turned_round(first, second, length):
    """The mask is the wrong way round: 1 at padding, 0 at real tokens.

    ? Which places may be read?
    @ PyTorch's key_padding_mask and BERT's attention_mask mean opposite things.
    ! 1 for real tokens ([CLS] and [SEP] are real), 0 for [PAD].
    """
    tokens, segments, mask = arrange(first, second, length)
    return tokens, segments, [1 - each for each in mask]


wrong_key = partial(mistake, "weights", kind="function", replaces="rename_key")


@wrong_key(seen="huggingface/transformers#11809; salesforce/sqlova#24")
def old_words_kept(key):
    """The old words gamma and beta are left as they are.

    ? What does the official file call LayerNorm's two vectors?
    @ gamma is the weight, beta is the bias.
    ! Rename a final .gamma to .weight and a final .beta to .bias.
    """
    name = rename_key(key)
    leaf = key.rpartition(".")[2]
    return f"{name.rpartition('.')[0]}.{leaf}" if leaf in ("gamma", "beta") else name


@wrong_key()
def old_words_exchanged(key):
    """gamma and beta are exchanged: gamma became the bias.

    ? Which of gamma and beta is multiplied, and which is added?
    @ gamma is near 1 in a trained model, beta near 0.
    ! gamma is the weight, beta is the bias.
    """
    if not key.endswith((".gamma", ".beta")):
        return rename_key(key)
    stem, _, leaf = key.rpartition(".")
    return rename_key(f"{stem}.{'beta' if leaf == 'gamma' else 'gamma'}")


@wrong_key(seen="huggingface/transformers#5421")
def prefix_kept(key):
    """The prefix 'bert.' is left on.

    ? With which word do the keys of a file with heads begin?
    @ Some keys carry a prefix, others do not.
    ! Remove a leading 'bert.'.
    """
    return ("bert." if key.startswith("bert.") else "") + rename_key(key)


@wrong_key(seen="chains of str.replace, whose order matters")
def layer_norms_confused(key):
    """Both LayerNorms of a block get the name of the second one.

    ? How many keys of one block contain 'output.LayerNorm'?
    @ 'attention.output.LayerNorm' contains 'output.LayerNorm'.
    ! Match the whole name, or the longer one first.
    """
    return re.sub(r"\.attention_norm\.", ".output_norm.", rename_key(key))
