"""How wrong numbers are related to the right ones, when the relation is simple.

A relation is a fact about the numbers and needs no catalogue: "yours = reference x 2.236". It
is looked for at real tokens only, and only said where it holds for all of them.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from minibert.core.config import BertConfig
from minibert.diagnosis.compare import close, largest
from minibert.diagnosis.naming import title
from minibert.diagnosis.traces import Place
from minibert.system.numbers import percent


def relations(
    place: Place,
    others: Mapping[str, Tensor] | None = None,
    sizes: Mapping[str, float] | None = None,
    tolerance: float = 1e-7,
) -> list[str]:
    """Sentences about how `place.got` is related to `place.expected`; most telling first.

    `others` are further tensors of the reference by name (earlier ones, parameters), `sizes`
    the numbers that a factor may stand for.

    >>> right = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    >>> every = torch.ones(2, 2, dtype=torch.bool)
    >>> relations(Place("x", right, right * 3, every, every))
    ['yours = reference x 3']
    """
    if not place.same_shape:
        shapes = f"expected shape {tuple(place.expected.shape)}, got {tuple(place.got.shape)}"
        moved = _moved_axes(place, tolerance)
        return [shapes, *moved]
    if not place.got.isfinite().all():
        return ["yours holds NaN or infinite numbers"]
    return [
        *_simple(place, sizes or {}, tolerance),
        *_other_tensors(place, others or {}, tolerance),
        *_same_numbers(place, tolerance),
        *_sums(place, tolerance),
        *_softened(place, sizes or {}, tolerance),
    ]


def sizes_of(config: BertConfig, tokens: int) -> dict[str, float]:
    """The numbers of a model that turn up as factors by mistake, by name."""
    H, A, D = config.hidden_size, config.num_attention_heads, config.head_size
    return {
        f"head_size ({D} in this probe)": float(D),
        f"hidden_size ({H} in this probe)": float(H),
        f"the number of heads ({A} in this probe)": float(A),
        f"the number of tokens ({tokens} in this probe)": float(tokens),
    }


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    return bool(a.numel()) and close(a, b, tolerance * largest(b))


def _simple(place: Place, sizes: Mapping[str, float], tolerance: float) -> Iterator[str]:
    right, yours = place.expected[place.allowed], place.got[place.allowed]
    if right.numel() < 2 and right.dim():
        return
    if not yours.any():
        yield "yours is 0 everywhere"
        return
    factor = float((yours * right).sum() / (right * right).sum().clamp(min=1e-300))
    if abs(factor - 1) > 1e-6 and _close(yours, right * factor, tolerance):
        yield f"yours = reference x {factor:.4g}{_meaning(factor, sizes)}"
        return
    offset = float((yours - right).mean())
    if abs(offset) > 1e-6 and _close(yours, right + offset, tolerance):
        yield f"yours = reference {'+' if offset > 0 else '-'} {abs(offset):.4g}"


def _meaning(factor: float, sizes: Mapping[str, float]) -> str:
    if abs(factor + 1) < 1e-6:
        return ": the sign is turned"
    for name, size in sizes.items():
        for value, words in ((size, name), (size**0.5, f"the square root of {name}")):
            if abs(factor - value) < 1e-6 * value:
                return f", and {factor:.4g} is {words}"
            if abs(factor - 1 / value) < 1e-6 / value:
                return f", and {factor:.4g} is 1 / {words}"
    for top, below in ((a, b) for a in sizes for b in sizes if a != b):
        value = (sizes[top] / sizes[below]) ** 0.5
        if abs(factor - value) < 1e-6 * value:
            return f", and {factor:.4g} is the square root of {top} / {below}"
    return ""


def _other_tensors(place: Place, others: Mapping[str, Tensor], tolerance: float) -> Iterator[str]:
    right, yours, allowed = place.expected, place.got, place.allowed
    difference = yours - right
    for name, other in others.items():
        if name == place.name or not other.any():
            continue
        if other.shape == right.shape:
            if _close(yours[allowed], other[allowed], tolerance):
                yield f"yours equals another tensor of the reference: {title(name)}"
                return
        elif other.dim() != 1 or other.shape != right.shape[-1:]:
            continue
        for sign, word in ((-1, "-"), (1, "+")):
            wanted = (sign * other).expand(right.shape)
            if _close(difference[allowed], wanted[allowed], tolerance):
                yield f"yours = reference {word} {title(name)}"
                return
    if right.dim() == 3 and allowed.any():
        rows = difference[allowed[..., 0]]  # one row for each real token
        if len(rows) > 1 and _close(rows, rows[:1].expand_as(rows), tolerance):
            yield "the difference is the same vector at every token, as a bias would be"


def _same_numbers(place: Place, tolerance: float) -> Iterator[str]:
    right, yours = place.expected, place.got
    if right.dim() < 2:
        return
    if _close(yours, right.transpose(-1, -2), tolerance):
        yield "yours is the reference transposed: rows and columns are exchanged"
        return
    if _close(yours, right.flip(-1), tolerance):
        yield "yours is the reference with its last axis in reverse order"
        return
    # as sets of numbers, only texts without padding may be compared
    full = [
        row
        for row in range(right.shape[0])
        if bool(place.allowed[row].all()) and bool(place.wrong[row].any())
    ]
    if not full or right[0].numel() < 3:
        return
    a, b = right[full], yours[full]
    if a.dim() >= 3 and _close(b.sort(dim=-1).values, a.sort(dim=-1).values, tolerance):
        yield "within each row your numbers are the right ones, in another order"
    elif _close(b.flatten(1).sort().values, a.flatten(1).sort().values, tolerance):
        yield "within each text your numbers are the right ones, in another order"


def _sums(place: Place, tolerance: float) -> Iterator[str]:
    """For tables of probabilities: along which axis do they sum to 1?"""
    right, yours = place.expected, place.got
    if right.dim() < 2 or (right < 0).any():
        return
    full = [row for row in range(right.shape[0]) if bool(place.allowed[row].all())]
    if not full:
        return

    def to_one(table: Tensor, axis: int) -> bool:
        sums = table[full].sum(dim=axis)
        return _close(sums, torch.ones_like(sums), tolerance)

    if not to_one(right, -1) or to_one(yours, -1):
        return
    axes = {-2: "columns (over the queries)", -3: "the heads"}
    for axis, words in axes.items():
        if right.dim() + axis >= 1 and to_one(yours, axis):
            yield f"yours sums to 1 along {words}; it must along rows (over the keys)"
            return
    yield "the rows must sum to 1, over the keys; yours do not"


def _softened(place: Place, sizes: Mapping[str, float], tolerance: float) -> Iterator[str]:
    """For probabilities: were the scores multiplied by a constant before softmax?"""
    right, yours = place.expected, place.got
    if right.dim() < 2 or not bool(((right > 0) & (yours > 0))[place.allowed].all()):
        return
    if _close(right[place.allowed].sum(), yours[place.allowed].sum(), 1e-6):
        count = place.allowed.sum(dim=-1, keepdim=True).clamp(min=1)

        def centered(table: Tensor) -> Tensor:
            logs = torch.where(place.allowed, table.log(), torch.zeros_like(table))
            return torch.where(place.allowed, logs - logs.sum(dim=-1, keepdim=True) / count, 0)

        a, b = centered(right), centered(yours)
        factor = float((a * b).sum() / (a * a).sum().clamp(min=1e-300))
        if abs(factor - 1) > 1e-6 and _close(b, a * factor, max(tolerance, 1e-6)):
            meaning = _meaning(factor, sizes)
            yield f"yours is what softmax makes of the reference's scores x {factor:.4g}{meaning}"


def linear(
    place: Place, inputs: Tensor, parameters: Mapping[str, Tensor], tolerance: float = 1e-7
) -> list[str]:
    """With which kernel and bias of the reference a linear layer made `place.got` of `inputs`.

    >>> x, other = torch.eye(3).double()[None], torch.ones(3, 3).double()
    >>> right = torch.arange(9).view(3, 3).double()
    >>> every = torch.ones(1, 3, 3, dtype=torch.bool)
    >>> place = Place("a", x @ right.T, x @ right, every, every)
    >>> linear(place, x, {"a.weight": right, "b.weight": other})
    ['it is what a layer with the kernel of a, transposed, and no bias makes of your input']
    """
    kernel, bias = f"{place.name}.weight", f"{place.name}.bias"
    if kernel not in parameters or not place.same_shape or not inputs.is_floating_point():
        return []  # no linear layer, or one that looks ids up
    rows = place.allowed[..., 0]
    x, yours = inputs.double().expand(*place.got.shape[:-1], -1)[rows], place.got[rows]
    for name, matrix in parameters.items():
        for turned in (False, True):
            if matrix.dim() != 2 or matrix.T.shape[turned] != x.shape[-1]:
                continue
            made = x @ (matrix if turned else matrix.T)
            if made.shape != yours.shape:
                continue
            rest = yours - made
            if not _close(rest, rest[:1].expand_as(rest), tolerance):
                continue
            vectors = [n for n, p in parameters.items() if p.shape == rest[0].shape]
            held = next((n for n in vectors if _close(rest[0], parameters[n], tolerance)), "")
            which = name.removesuffix(".weight") + (", transposed," if turned else "")
            if held:
                what = f"the bias of {held.removesuffix('.bias')}"
            else:
                what = "another bias" if rest.abs().max() > tolerance else "no bias"
            if (name, held, turned) != (kernel, bias, False):
                return [
                    f"it is what a layer with the kernel of {which} and {what} makes of your input"
                ]
    return []


def _moved_axes(place: Place, tolerance: float) -> list[str]:
    right, yours = place.expected, place.got
    if right.numel() == yours.numel() and right.dim() == yours.dim():
        for first in range(right.dim()):
            for second in range(first + 1, right.dim()):
                if _close(yours, right.transpose(first, second), tolerance):
                    return [f"the numbers are right; axes {first} and {second} are exchanged"]
    return []


AXES = {
    4: ("text", "head", "query", "key"),
    3: ("text", "token", "feature"),
    2: ("text", "feature"),
}
PLURALS = {"text": "texts", "head": "heads", "query": "queries", "key": "keys", "token": "tokens"}
GROUPS = (
    ({3, 5}, "padded on the left"),
    ({0, 2, 3, 5}, "those with padding"),
)  # of the texts of the probe


def where(place: Place, of_probe: bool = False) -> str:
    """Which entries differ, in words: all, or only some heads, tokens, texts.

    `of_probe` if the texts are those of the probe's batch, so that more can be said of them.

    >>> right, wrong = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4, dtype=torch.bool)
    >>> wrong[1] = True
    >>> print(where(Place("x", right, right + 1, wrong, torch.ones_like(wrong))))
    50.0 % of its numbers, only in text 1
    """
    if not place.same_shape:
        return "its shape is another one"
    wrong, allowed = place.wrong & place.allowed, place.allowed
    share = float(wrong.sum() / allowed.sum())
    counted = "all" if bool((wrong == allowed).all()) else percent(share)
    words = [f"{counted} of its numbers"]
    for axis, name in enumerate(AXES.get(wrong.dim(), ())):
        rest = tuple(other for other in range(wrong.dim()) if other != axis)
        places = wrong.any(dim=rest).nonzero().flatten().tolist()
        possible = int(allowed.any(dim=rest).sum())
        if len(places) == possible or (name == "feature" and len(places) > 3):
            continue
        noun = name if len(places) == 1 else PLURALS.get(name, f"{name}s")
        group = next((f" ({told})" for texts, told in GROUPS if texts >= set(places)), "")
        known = group if of_probe and name == "text" else ""
        words.append(f"only in {noun} {', '.join(map(str, places))}{known}")
    return ", ".join(words)
