"""How a text became its ids: what each rule changed, and which prefixes the longest match tried.

`explain` goes through the rules one by one, in the plain form of `rules.py` and `wordpiece.py`; the
tests hold its result to that of the fast tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from minibert.tokenizer.pieces import WordPieceTokenizer
from minibert.tokenizer.pipeline import Pipeline

if TYPE_CHECKING:
    from minibert.tokenizer.tokenizer import Tokenizer


class Step(NamedTuple):
    """One rule at work: the text before and after, and what was changed into what.

    For the rule "longest match" the text before is a word, the text after its pieces, and the
    changes are the prefixes tried, each with its id, or "" where the vocabulary does not have it.
    For "merges" (byte-level BPE) they are the pairs and what each becomes, for "best path"
    (Unigram) the pieces and their scores.
    """

    rule: str
    before: str
    after: str
    changes: list[tuple[str, str]]


def explain(tokenizer: Tokenizer | WordPieceTokenizer, text: str) -> list[Step]:
    """The steps from a text to its ids.

    >>> tokenizer = WordPieceTokenizer(["[UNK]", "zo", "##e"])
    >>> for step in explain(tokenizer, "Zoë"):
    ...     print(step.rule, "|", step.after, "|", step.changes)
    clean | Zoë | []
    isolate_ideographs | Zoë | []
    strip_accents | Zoe | [('ë', 'e')]
    lowercase | zoe | [('Z', 'z')]
    isolate_punctuation | zoe | []
    longest match | zo ##e | [('zoe', ''), ('zo', '1'), ('##e', '2')]
    ids | 1 2 | []
    """
    tokenizer.ids(text)  # raises for what is no text
    steps: list[Step] = []
    for start, end, number in tokenizer.typed.split(text):
        part = text[start:end]
        if number is not None:
            token = tokenizer.vocabulary.inverse[number]
            steps.append(Step("added token", part, token, [(part, str(number))]))
            continue
        for rule in tokenizer.steps:
            after = rule(part, tokenizer.rules)
            spelled = ((char, rule(char, tokenizer.rules)) for char in part)
            changes = [(old, new) for old, new in spelled if old != new]
            steps.append(Step(rule.__name__, part, after, changes))
            part = after
        engine = getattr(tokenizer, "engine", tokenizer)
        if isinstance(engine, Pipeline):
            words = engine.words(part, range(start, start + len(part)))
            steps += (_spell(engine, letters) for letters, _ in words)
        else:
            steps += (_match(tokenizer, word) for word in part.split(" ") if word)
    ids = " ".join(map(str, tokenizer.ids(text)))
    return [*steps, Step("ids", text, ids, [])]


def _spell(engine: Pipeline, word: str) -> Step:
    name, changes = engine.explain_word(word)
    pieces = (engine.vocabulary.inverse[number] for number, _ in engine.spell(word))
    return Step(name, word, " ".join(pieces), changes or [(word, "one piece")])


def _match(tokenizer: Tokenizer | WordPieceTokenizer, word: str) -> Step:
    vocabulary = tokenizer.vocabulary
    unknown = vocabulary.inverse[vocabulary.unk_id]
    if len(word) > tokenizer.rules.longest_word:
        reason = f"{len(word)} characters, more than {tokenizer.rules.longest_word}"
        return Step("longest match", word, unknown, [(reason, "")])
    tried: list[tuple[str, str]] = []
    pieces: list[str] = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = ("##" if start else "") + word[start:end]
            tried.append((piece, str(vocabulary.wordpieces.get(piece, ""))))
            if piece in vocabulary.wordpieces:
                break
        else:
            return Step("longest match", word, unknown, tried)
        pieces.append(piece)
        start = end
    return Step("longest match", word, " ".join(pieces), tried)


def format_explanation(steps: list[Step], colour: bool = False) -> str:
    """The steps as a table of three columns: the rule, its result, what it changed or tried.

    Rules that changed nothing are left out. `colour` marks changes with ANSI escape sequences.

    >>> print(format_explanation(explain(WordPieceTokenizer(["[UNK]", "zo", "##e"]), "Zoë")))
    strip_accents  'Zoe'   ë → e
    lowercase      'zoe'   Z → z
    longest match  zo ##e  zoe no, zo 1, ##e 2
    ids            1 2
    """
    rows = [tuple(_cells(step, colour)) for step in steps if step.changes or step.rule == "ids"]
    rule_width = max(len(rule) for rule, _, _ in rows)
    result_width = min(40, max(len(result) for rule, result, _ in rows if rule != "ids"))
    lines = (f"{rule:{rule_width}}  {result:{result_width}}  {what}" for rule, result, what in rows)
    return "\n".join(line.rstrip() for line in lines)


def _cells(step: Step, colour: bool) -> Iterator[str]:
    yes, no, end = ("\033[32m", "\033[2m", "\033[0m") if colour else ("", "", "")
    matched = step.rule in ("longest match", "best path", "added token")
    yield step.rule
    yield step.after if matched or step.rule in ("merges", "ids") else repr(step.after)
    if matched:
        yield ", ".join(
            f"{yes}{what} {number}{end}" if number else f"{no}{what} no{end}"
            for what, number in step.changes
        )
    else:
        distinct = dict.fromkeys(step.changes)
        yield ", ".join(f"{yes}{_show(old)} → {_show(new)}{end}" for old, new in distinct)


def _show(text: str) -> str:
    """Letters as they are; spaces and what cannot be seen as Python writes it."""
    if text.isprintable() and text == text.strip() and text:
        return text
    return repr(text) if len(text) != 1 else f"U+{ord(text):04X}"
