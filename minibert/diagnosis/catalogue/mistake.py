"""What a known mistake is, and how it is put into a correct model.

A mistake is a small change of the reference, with words for the person who made it. A mistake of
the model replaces a submodule, a number or a method of a `BertForPreTraining`; a mistake of a
function is a wrong function that stands where the right one should. Several may be applied
together, in the order of the catalogue, unless they change the same thing.

A course adds its own in a Python file of its own:

    from minibert.diagnosis.catalogue.mistake import attentions, mistake

    @mistake("attention", seen="my course, 2024", changes="scale", each=attentions)
    def scale_of_base_model(attention):
        \"""The scores are divided by 8, whatever the head size.

        ? Where does the 8 in the paper's example come from?
        @ It is the root of 64, the head size of the base model.
        ! Divide by head_size ** 0.5.
        \"""
        attention.scale = 1 / 8
"""

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from torch import nn

from minibert.core.attention import BertAttention
from minibert.core.encoder import BertBlock
from minibert.core.heads import BertForPreTraining

PARTS = (
    "tokenizer",
    "batch",
    "embeddings",
    "mask",
    "attention",
    "norm",
    "feed_forward",
    "block",
    "pooler",
    "masked_word",
    "next_sentence",
    "dropout",
    "gradient",
    "weights",
    "masking",
    "loss",
    "use",
    "optimizer",
    "task",
)


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One known mistake.

    id       a short name
    part     where it lives, one of PARTS
    kind     "model": eval mode shows it; "train": only dropout shows it; "gradient": only a
             backward pass shows it; "function": a wrong stand-in for the function `replaces`;
             "task": a change of a TaskModel of the class `replaces`, which the parity ladder shows
    symptom  one sentence that says what is done, as a reader of the code would
    hints    three, of rising frankness: a question, the place, the fix
    seen     where people have made it; "" if no public case is known
    changes  what is changed, joined by "+"; two that change the same thing exclude each other
    """

    id: str
    part: str
    kind: str
    symptom: str
    hints: tuple[str, ...]
    seen: str
    changes: str
    change: Callable[..., Any]
    replaces: str = ""

    def apply(self, model: Any) -> None:
        """Put this mistake into `model`, in place; its parameters are replaced, never written to.

        `model` is a BertForPreTraining, and for a mistake of kind "task" a TaskModel.

        Raises TypeError for a mistake of a function: there `change` is the wrong function itself.
        """
        if self.kind == "function":
            raise TypeError(f"{self.id} is a mistake of {self.replaces}(), not of a model")
        self.change(model)

    def excludes(self, other: "Mistake") -> bool:
        """True if the two cannot be made together."""
        return not set(self.changes.split("+")).isdisjoint(other.changes.split("+"))


class Variant:
    """A wrong function made of a general one with some of its parts exchanged.

    Variants of one general function can be joined, so that a student's two slips can be.

    >>> wrong = Variant(sorted, reverse=True)
    >>> wrong([2, 1, 3])
    [3, 2, 1]
    """

    def __init__(self, general: Callable[..., Any], **parts: Any):
        self.general = general
        self.parts = parts

    def __call__(self, *arguments: Any) -> Any:
        return self.general(*arguments, **self.parts)

    def joined(self, other: "Variant") -> "Variant":
        """Both together."""
        return Variant(self.general, **self.parts, **other.parts)


CATALOGUE: dict[str, Mistake] = {}


MARKS = {"?": "question", "@": "place", "!": "fix"}
Parts = Callable[[BertForPreTraining], Iterable[Any]]


def mistake(
    part: str,
    *,
    seen: str = "",
    kind: str = "model",
    changes: str = "",
    replaces: str = "",
    each: Parts | None = None,
    hints: str = "",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter the decorated change into the catalogue: its name is the id, its docstring the text.

    With `each`, such as `blocks`, each of these parts of the model is changed, not the model.

    The first paragraph of the docstring is the symptom; a line that begins with "? " opens the
    question, "@ " the place, "! " the fix. What several mistakes have in common of these stands
    in `hints`; the docstring's own comes first. Raises ValueError for an unknown part or kind, an
    id that is taken, or a docstring that lacks one of the four.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {PARTS}, got {part!r}")
    if kind not in ("model", "train", "gradient", "function", "task"):
        raise ValueError(f"kind must be model, train, gradient, function or task, got {kind!r}")
    if (kind in ("function", "task")) != bool(replaces):
        raise ValueError("a mistake of kind 'function' or 'task', and no other, says what it "
                         "replaces")  # fmt: skip

    def enter(change: Callable[..., Any]) -> Callable[..., Any]:
        name = getattr(change, "__name__", repr(change))
        if name in CATALOGUE:
            raise ValueError(f"the catalogue has a mistake named {name!r}; choose another name")
        symptom, *three = _paragraphs(name, change.__doc__ or "", hints)
        apply = change if each is None else partial(_change_each, each, change)
        CATALOGUE[name] = Mistake(
            name, part, kind, symptom, tuple(three), seen, changes or name, apply, replaces
        )
        return change

    return enter


def _change_each(each: Parts, change: Callable[..., Any], model: BertForPreTraining) -> None:
    for part in each(model):
        change(part)


def _paragraphs(name: str, docstring: str, hints: str) -> list[str]:
    """Symptom, question, place and fix of a mistake, each as one line."""
    words = {
        paragraph: own or _words(hints)[paragraph] for paragraph, own in _words(docstring).items()
    }
    for paragraph, content in words.items():
        if not content:
            marks = ", ".join(f'"{mark} " opens the {what}' for mark, what in MARKS.items())
            raise ValueError(
                f"the docstring of {name}() has no {paragraph}: it begins with the symptom, "
                f"then {marks}"
            )
    return [" ".join(content) for content in words.values()]


def _words(text: str) -> dict[str, list[str]]:
    words: dict[str, list[str]] = {"symptom": [], "question": [], "place": [], "fix": []}
    current = "symptom"
    for line in inspect.cleandoc(text).splitlines():
        if line[:1] in MARKS and line[1:2] in ("", " "):
            current = MARKS[line[:1]]
            line = line[1:]
        words[current] += line.split()
    return words


@contextlib.contextmanager
def patched(model: BertForPreTraining, mistakes: Iterable[Mistake]) -> Iterator[BertForPreTraining]:
    """`model` with these mistakes inside the `with`, and as it was after it.

    >>> from minibert.diagnosis.catalogue.all import CATALOGUE
    >>> from minibert.diagnosis.probe import probe_model
    >>> model = probe_model()
    >>> attention = model.bert.encoder.blocks[0].attention
    >>> with patched(model, [CATALOGUE["scale_missing"]]):
    ...     attention.scale
    1.0
    >>> attention.scale
    0.447
    """
    order = {name: place for place, name in enumerate(CATALOGUE)}
    before = [(module, dict(module.__dict__), _tables(module)) for module in model.modules()]
    try:
        for each in sorted(mistakes, key=lambda each: order.get(each.id, len(order))):
            each.apply(model)
        yield model
    finally:
        for module, attributes, tables in before:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for name, table in tables.items():
                module.__dict__[name].clear()
                module.__dict__[name].update(table)


def _tables(module: nn.Module) -> dict[str, dict[str, Any]]:
    return {name: dict(module.__dict__[name]) for name in ("_modules", "_parameters")}


def blocks(model: BertForPreTraining) -> list[BertBlock]:
    """The blocks of the encoder, in order."""
    return [block for block in model.bert.encoder.blocks if isinstance(block, BertBlock)]


def attentions(model: BertForPreTraining) -> list[BertAttention]:
    """The attention of every block, in order."""
    return [block.attention for block in blocks(model)]


def override(module: nn.Module, method: str, change: Callable[..., Any]) -> None:
    """Let `change(original, ...)` stand for `module.method(...)`, for this one instance."""
    setattr(module, method, partial(change, getattr(module, method)))
