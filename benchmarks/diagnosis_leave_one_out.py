"""What does the checker say of a mistake that it does not know?

    python -m benchmarks.diagnosis_leave_one_out [--pairs 200] [--quadruples 40]

Each mistake of the model is taken out of the catalogue in turn, made, and diagnosed. A good
answer is none at all; every other one is a wrong name, and is listed. The second column gives the
checker less to see: hidden states, attentions and outputs, as a library returns them. Then single
known mistakes, and two to four together, are counted in both ways. Prints Markdown.
"""

import argparse
import random
import time

import torch

from minibert.diagnosis.catalogue.all import EQUIVALENT, model_mistakes
from minibert.diagnosis.checker import Checker
from minibert.diagnosis.search import Replay, possible
from minibert.diagnosis.students import Arrays

OUTPUTS = ("last_hidden_state", "embeddings.norm", "pooler.activation", "loss")
LOGITS = ("masked_word.logits", "next_sentence.logits")


def returned(name: str) -> bool:
    """True for what a model gives back when asked for hidden states and attentions."""
    ends = name.endswith(("attention.probabilities", "output_norm"))
    return name in (*OUTPUTS, *LOGITS) or (name.startswith("encoder.") and ends)


def final(name: str) -> bool:
    """True for what a model gives back when asked for nothing more."""
    return name in ("last_hidden_state", "pooler.activation", *LOGITS)


VIEWS = {"all tensors": lambda name: True, "states and attentions": returned, "outputs": final}


def seen(tensors: dict, view: str) -> dict:
    return {name: tensor for name, tensor in tensors.items() if VIEWS[view](name)}


def leave_one_out(replay: Replay) -> None:
    everything = list(replay.mistakes)
    wrong: dict[str, dict[str, list]] = {}
    for each in everything:
        if each.id in EQUIVALENT:
            continue
        tensors = replay.tensors([each])
        rest = Replay(replay.model, replay.batch, [m for m in everything if m is not each])
        rest._known = replay._known
        for view in ("all tensors", "states and attentions"):
            explanations = rest.explain(seen(tensors, view))
            if explanations:
                wrong.setdefault(each.id, {})[view] = explanations
    print(f"\nLeft out one at a time: {len(everything) - len(EQUIVALENT)} mistakes.\n")
    print("| left out | what the checker says, all tensors | states and attentions |")
    print("|---|---|---|")
    for name, views in wrong.items():
        cells = [
            " or ".join(" + ".join(ids) for ids in views.get(view, [])[:3]) or "-"
            for view in ("all tensors", "states and attentions")
        ]
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def count(checker: Checker, size: int, samples: list, view: str) -> None:
    tally = dict.fromkeys(
        ("exact", "among several", "fewer mistakes, same numbers", "none", "wrong"), 0
    )
    for chosen in samples:
        tensors = seen(checker.replay.tensors(chosen), view)
        student = Arrays(tensors, checker.expected, checker.model.config)
        explanations = checker.check(student).explanations
        right = tuple(sorted(each.id for each in chosen))
        if explanations == [right]:
            tally["exact"] += 1
        elif right in explanations:
            tally["among several"] += 1
        elif not explanations:
            tally["none"] += 1
        elif all(set(ids) < set(right) for ids in explanations):
            tally["fewer mistakes, same numbers"] += 1
        else:
            tally["wrong"] += 1
            print(f"wrong ({view}): {right} explained as {explanations[:3]}")
    shown = ", ".join(f"{key} {value}" for key, value in tally.items())
    print(f"- {len(samples)} sets of {size}, {view}: {shown}")


def drawn(generator: random.Random, size: int, number: int) -> list:
    """So many sets of mistakes that can be made together."""
    samples: list = []
    while len(samples) < number:
        chosen = generator.sample(model_mistakes(), size)
        if possible(chosen) and not any(each.id in EQUIVALENT for each in chosen):
            samples.append(chosen)
    return samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200, help="and as many sets of three")
    parser.add_argument("--quadruples", type=int, default=40)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    checker = Checker()
    replay = checker.replay
    start = time.process_time()
    for each in replay.mistakes:
        replay.cached((each.id,))
    seconds = time.process_time() - start
    print(f"One sweep over {len(replay.mistakes)} mistakes: {seconds:.2f} s of processor time")

    singles = [[each] for each in replay.mistakes if each.id not in EQUIVALENT]
    for view in VIEWS:
        count(checker, 1, singles, view)
    generator = random.Random(0)
    both = ("all tensors", "states and attentions")
    for size, number, views in (
        (2, arguments.pairs, both),
        (3, arguments.pairs, both[:1]),
        (4, arguments.quadruples, both),
    ):
        samples = drawn(generator, size, number)
        for view in views:
            count(checker, size, samples, view)
    leave_one_out(replay)


if __name__ == "__main__":
    main()
