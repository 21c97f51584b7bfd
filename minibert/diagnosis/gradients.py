"""One backward pass: does every parameter get the gradient that it must?"""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from minibert.diagnosis.catalogue.mistake import CATALOGUE, Mistake, patched
from minibert.diagnosis.compare import close, largest
from minibert.diagnosis.naming import outputs_by_name
from minibert.diagnosis.report import Check
from minibert.diagnosis.search import Replay, explain, with_accepted
from minibert.diagnosis.students import Callee, Student, in_words
from minibert.diagnosis.traces import FLOAT32_TOLERANCE, GRADED, TOLERANCE, comparable

GRADIENT_TOLERANCE = 1e-7


def check_gradients(
    student: Student, replay: Replay, tolerance: float
) -> tuple[Check, str, list[tuple[str, ...]]]:
    """The check, the parameter nearest the output that is wrong, and the known mistakes."""
    if not isinstance(student, Callee) or student.module is None or not student.parameters:
        return Check("gradients", None, "not looked at: not a torch module"), "", []
    module = student.module
    module.eval().zero_grad()
    batch = {name: t.clone() for name, t in replay.batch.items() if "label" not in name}
    try:
        live = outputs_by_name(student.run(batch), replay.cached(()), replay.model.config)
        graded = [name for name in GRADED if name in live]
        total = _objective({name: live[name] for name in graded}, batch["attention_mask"])
        if not total.requires_grad:
            return Check("gradients", False, "the output carries no gradient at all"), "", []
        total.backward()
    except BaseException as error:
        text = f"the backward pass fails: {in_words(error)}"
        return Check("gradients", False, text), "", []
    own = dict(module.named_parameters(remove_duplicate=False))
    got = {}
    sizes = {n.removeprefix("bert."): p.shape for n, p in replay.model.named_parameters()}
    for ours, keys in student.parameters.items():
        if keys[0] not in own or own[keys[0]].shape != sizes[ours]:
            continue  # a buffer, or a longer table
        grad = own[keys[0]].grad
        got[ours] = torch.zeros(()).double() if grad is None else grad.detach()

    def gradients(mistakes: Sequence[Mistake]) -> dict[str, Tensor]:
        def compute() -> dict[str, Tensor]:
            return reference_gradients(replay, mistakes, graded)

        return replay.once(("gradients", *graded), compute, mistakes)

    right = gradients(())
    exact = tolerance == TOLERANCE and all(g.dtype == torch.float64 for g in got.values())
    allowed = GRADIENT_TOLERANCE if exact else FLOAT32_TOLERANCE
    wrong = gradient_difference(right, got, allowed)
    if not wrong:
        return Check("gradients", True, f"{len(got)} parameters agree"), "", []
    none = [name for name in wrong if not bool(got[name].any())]
    last = wrong[-1]  # nearest the output, where the backward pass begins
    words = f"{last} gets no gradient" if last in none else f"gradient of {last}"
    words += f"; {len(wrong)} of {len(got)} parameters differ"

    def agree(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
        return not gradient_difference(one, other, allowed)

    known = [m for m in CATALOGUE.values() if m.kind == "gradient" and m not in replay.accepted]
    explanations = explain(known, gradients, agree, got).sets
    return Check("gradients", False, "the backward pass differs"), words, explanations


def reference_gradients(
    replay: Replay, mistakes: Sequence[Mistake], graded: Sequence[str]
) -> dict[str, Tensor]:
    """The gradient of every parameter of the reference, with these mistakes in it."""
    model = copy.deepcopy(replay.model)
    live: dict[str, Tensor] = {}
    model.bert.register_forward_hook(
        lambda module, inputs, output: live.update(
            {"last_hidden_state": output[0], "pooler.activation": output[1]}
        )
    )
    batch = {name: t for name, t in replay.batch.items() if "label" not in name}
    with patched(model, with_accepted(replay.accepted, mistakes)):
        output = model(**batch, output_attentions=True)
        live["masked_word.logits"] = output.prediction_logits
        live["next_sentence.logits"] = output.seq_relationship_logits
        total = _objective({name: live[name] for name in graded}, batch["attention_mask"])
        total.backward()
    return {
        name.removeprefix("bert."): torch.zeros(()) if parameter.grad is None else parameter.grad
        for name, parameter in model.named_parameters()
    }


def _objective(outputs: Mapping[str, Tensor], mask: Tensor) -> Tensor:
    """One number that depends on every output; each with a weight of its own."""
    total = torch.zeros((), dtype=torch.float64)
    for output in outputs.values():
        weights = torch.arange(output.numel(), dtype=torch.float64).cos().view(output.shape)
        total = total + (output * weights * comparable(output, mask)).sum()
    return total


def gradient_difference(
    right: Mapping[str, Tensor], got: Mapping[str, Tensor], tolerance: float
) -> list[str]:
    """The parameters whose gradients differ."""
    wrong = []
    for name, tensor in right.items():
        if name in got:
            a, b = torch.broadcast_tensors(tensor.double(), got[name].double())
            if name == "embeddings.token.weight" and a.dim() == 2:
                a, b = a[1:], b[1:]  # whether the row of [PAD] learns is a matter of taste
            if not close(a, b, tolerance * largest(a)):
                wrong.append(name)
    return wrong
