"""Is a model still the one that `fast/` copies? Its modules, and what its weights hold.

A copy that is out of date is a silent wrong answer, and nothing announces that it is: a fused
optimizer and what is written through `.data` leave no mark on a tensor, hooks and other modules
none on its weights. So both are looked at before each use.
"""

import inspect
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from minibert.core.attention import BertAttention
from minibert.core.embeddings import BertEmbeddings
from minibert.core.encoder import BertBlock, BertEncoder, BertFeedForward
from minibert.core.model import BertModel, BertPooler

# What is copied: by the class of a module, the classes of its parts.
PARTS: dict[type, dict[str, type]] = {
    BertModel: {"embeddings": BertEmbeddings, "encoder": BertEncoder},
    BertEmbeddings: {
        **dict.fromkeys(("token", "segment", "position"), nn.Embedding),
        "sum": nn.Identity,
        "norm": nn.LayerNorm,
        "dropout": nn.Dropout,
    },
    BertEncoder: {"blocks": nn.ModuleList},
    BertBlock: {
        "attention": BertAttention,
        "attention_sum": nn.Identity,
        "attention_norm": nn.LayerNorm,
        "feed_forward": BertFeedForward,
        "output_sum": nn.Identity,
        "output_norm": nn.LayerNorm,
        "dropout": nn.Dropout,
    },
    BertAttention: {
        **dict.fromkeys(("query", "key", "value", "output"), nn.Linear),
        **dict.fromkeys(("scores", "masked_scores", "context"), nn.Identity),
        "probabilities": nn.Softmax,
        "dropout": nn.Dropout,
    },
    BertFeedForward: {"up": nn.Linear, "activation": nn.GELU, "down": nn.Linear},
    BertPooler: {"dense": nn.Linear, "activation": nn.Tanh},
}
WEIGHTS = {
    nn.Linear: {"weight", "bias"},
    nn.LayerNorm: {"weight", "bias"},
    nn.Embedding: {"weight"},
}
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _functions(kind: type) -> dict[str, Any]:
    """What runs when a module of this class is called: of torch's classes it is `forward`."""
    if kind in PARTS:
        return {name: value for name, value in vars(kind).items() if inspect.isfunction(value)}
    return {"forward": kind.__dict__.get("forward")}


_KINDS = {*PARTS, *(kind for parts in PARTS.values() for kind in parts.values())}
_FUNCTIONS = {kind: _functions(kind) for kind in _KINDS}
_NAMES = {kind: frozenset(dir(kind)) for kind in _KINDS}


def embeds_by_itself(model: nn.Module) -> bool:
    """Whether `model` is a variant that has exchanged parts of a BertModel, and no method of it.

    Its embeddings then run as they are written, and its blocks are copied.
    """
    kinds = type(model).__mro__
    if BertModel not in kinds[1:]:
        return False
    own = [vars(kind) for kind in kinds[: kinds.index(BertModel)]]
    return all(callable(v) <= (k == "__init__") for names in own for k, v in names.items())


def _kind_of(module: nn.Module) -> type:
    """The class whose numbers a module gives in eval mode: its own, or what its class says with
    `in_eval`, for as long as its class has the method that it said so of."""
    names = vars(type(module))
    kind, method = names.get("in_eval", (type(module), None))
    return kind if method is names.get("forward") or "in_eval" not in names else type(module)


def what_differs(model: nn.Module, kind: type = BertModel) -> str:
    """Why `model` may compute something else than what `fast/` copies of it; "" if nothing does.

    The pooler is not copied; `what_differs(model.pooler, BertPooler)` looks at it.

    >>> from minibert.core.config import BertConfig
    >>> model = BertModel(BertConfig(vocab_size=61, hidden_size=20, num_hidden_layers=2,
    ...                              num_attention_heads=4, intermediate_size=44))
    >>> what_differs(model)
    ''
    >>> hook = model.encoder.blocks[1].register_forward_hook(lambda *arguments: None)
    >>> what_differs(model)
    'encoder.blocks.1: a hook is registered'
    """
    if any(getattr(torch_module, f"_global{hooks}") for hooks in HOOKS):
        return "torch.nn: a hook is registered for all modules"
    for known, functions in _FUNCTIONS.items():
        if _functions(known) != functions:
            return f"{known.__name__}: its methods were replaced"
    kinds = set()
    places: list[tuple[str, Any, type]] = [("", model, kind)]
    if kind is BertModel and embeds_by_itself(model):
        entrance: Any = model.embeddings
        for name, module in (("the model", model), *entrance.named_modules()):
            if any(map(vars(module).get, HOOKS)) or "forward" in vars(module):
                return f"{name or 'embeddings'}: a hook is registered, or its forward was replaced"
            if module.training:
                return f"{name or 'embeddings'}: it is in train mode"
        places = [("encoder", model.encoder, BertEncoder)]
    for name, module, expected in places:  # the list grows while it is read
        problem = _problem(module, expected)
        if not problem and module.training != model.training:
            problem = f"training is {module.training}, and {model.training} in the whole model"
        if problem:
            return f"{name or 'the model'}: {problem}"
        for part, its_kind in _parts(module).items():
            places.append((f"{name}.{part}".lstrip("."), module._modules[part], its_kind))
        kinds |= {(tensor.dtype, tensor.device) for tensor in module._parameters.values()}
    if len(kinds) > 1:
        return "the model: its weights have several dtypes or devices"
    for name, module, expected in places:
        if expected is BertAttention:
            layers = (module.query, module.key, module.value)
            if len({layer.weight.shape for layer in layers}) > 1:
                return f"{name}: query, key and value differ in size"
    return ""


def _parts(module: nn.Module) -> dict[str, type]:
    if type(module) is nn.ModuleList:
        return dict.fromkeys(module._modules, BertBlock)
    return PARTS.get(_kind_of(module), {})


def _problem(module: nn.Module, kind: type) -> str:
    """Why this module, without its parts, may compute something else than its class."""
    if _kind_of(module) is not kind:
        return f"expected a {kind.__name__}, got {type(module).__name__}"
    attributes = vars(module)
    if any(map(attributes.get, HOOKS)):
        return "a hook is registered"
    if not _NAMES[kind].isdisjoint(attributes):
        return f"its {min(_NAMES[kind] & attributes.keys())} was replaced"
    weights, parts, expected = attributes["_parameters"], attributes["_modules"], _parts(module)
    if weights.keys() != WEIGHTS.get(kind, set()) or attributes["_buffers"]:
        return "its tensors are others than when it was made"
    if weights and {*map(type, weights.values())} != {nn.Parameter}:
        return "its weights are no plain parameters"
    if parts.keys() - {"pooler"} != expected.keys():
        return f"expected the parts {', '.join(expected)}, got {', '.join(parts)}"
    if isinstance(module, nn.Embedding) and module.max_norm is not None:
        return "max_norm shortens its vectors"
    return ""


def contents_of(model: BertModel, copied: bool) -> tuple[object, ...]:
    """What the settings and weights are: equal as long as a `FastBert` is up to date.

    It tells where every tensor lies and what its numbers are; of a matrix that was `copied`, the
    products of its rows with one irregular vector, so that any change shows that a product of the
    model would not round away. These products take about as long as ten tokens; of a matrix that
    was not copied the place is enough.
    """
    tensors = [*model.embeddings.norm.parameters(), *model.encoder.parameters()]
    settings = [model.embeddings.norm.eps]
    for module in model.encoder.modules():
        settings += [v for v in vars(module).values() if type(v) in (int, float, str, tuple)]
    places = [(t.data_ptr(), t.shape, t.stride(), t.dtype, t.device) for t in tensors]
    numbers = []
    for tensor in tensors:
        half = tensor.dtype in (torch.float16, torch.bfloat16)
        exact = tensor.detach().float() if half else tensor.detach()
        if tensor.dim() == 1:
            numbers.append(exact)
        elif copied:
            numbers.append(exact @ _irregular(tensor.shape[1]).to(exact))
    content = torch.cat(numbers).cpu().numpy().tobytes()  # as bytes, NaN is equal to itself
    return settings, places, content


@cache
def _irregular(length: int) -> Tensor:
    """Numbers between 1 and 2, no two alike: they tell every place of a row from every other."""
    return 1 + torch.arange(length, dtype=torch.float64) * 0.6180339887498949 % 1


def count_states(model: BertModel) -> int:
    """How many hidden states it has: one more than blocks, whatever its config says."""
    blocks = getattr(model.encoder, "blocks", None)
    return 1 + (model.config.num_hidden_layers if blocks is None else len(blocks))
