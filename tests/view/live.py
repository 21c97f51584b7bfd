"""The live page's JavaScript in node: numbers out, for tests to compare."""

import base64
import json
import shutil
import subprocess
from typing import Any

import pytest
import torch

from minibert.core.heads import BertForPreTraining
from minibert.view.live.page import CORE, ENGINE, character_tables, script

# Reads {model, base64, steps}; a step is a piece of JavaScript and what it calls `given`.
RUNNER = """
const plain = (x) => x instanceof Map ? plain(Object.fromEntries(x))
  : ArrayBuffer.isView(x) ? Array.from(x, plain)
  : Array.isArray(x) ? x.map(plain)
  : x && typeof x === "object"
    ? Object.fromEntries(Object.entries(x).map(([name, value]) => [name, plain(value)]))
  : typeof x !== "number" ? x : Number.isFinite(x) ? Number(x.toPrecision(9)) : String(x);
async function answerAll({model, base64, steps}) {
  const weights = base64 && ownWeights(base64, model.weights), answers = [];
  const engine = base64 && new Engine(model, weights);
  for (const {code, given} of steps) answers.push(plain(await eval(code)));
  require("node:fs").writeFileSync(1, JSON.stringify(answers));
}
answerAll(JSON.parse(require("node:fs").readFileSync(0, "utf8")));
"""
PLAIN = {"do_lower_case": True, "strip_accents": None, "tokenize_chinese_chars": True}
FIVE = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def run_javascript(content: dict[str, Any], *steps: tuple[str, Any]) -> list[Any]:
    """What each step gives in the page's own scripts; skips the test where node is absent."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the page's JavaScript is not run")
    named = [{"code": code, "given": given} for code, given in steps]
    done = subprocess.run(
        [node, "-e", script(CORE + ENGINE) + RUNNER],
        input=json.dumps({**content, "steps": named}),
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def in_javascript(
    model: BertForPreTraining, vocabulary: list[str] | None = None, settings: Any = PLAIN
) -> dict[str, Any]:
    """The page's model with these weights in float32, for `run_javascript`."""
    words = [*FIVE, *(f"word{number}" for number in range(5, model.config.vocab_size))]
    tensors = {name.removeprefix("bert."): p.detach() for name, p in model.named_parameters()}
    stored = b"".join(tensor.float().numpy().astype("<f4").tobytes() for tensor in tensors.values())
    return {
        "base64": base64.b64encode(stored).decode(),
        "model": {
            "config": model.config.to_dict(),
            "vocabulary": vocabulary or words,
            "special": {token: number for number, token in enumerate(FIVE)},
            "settings": settings,
            "tables": character_tables(),
            "weights": [
                {"name": name, "type": "F32", "shape": list(tensor.shape)}
                for name, tensor in tensors.items()
            ],
        },
    }


def with_batch(trace: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A trace of the page, which reads one text at a time, with the axis B of `minibert.trace`."""

    def tensor(numbers: Any) -> torch.Tensor:  # what is not finite comes as a word
        flat = torch.tensor([float(x) for x in _flat(numbers)], dtype=torch.float64)
        return flat.view(_shape(numbers))

    tensors = {name: tensor(numbers) for name, numbers in trace.items()}
    return {
        name: each if name.startswith(("pooler", "next_sentence")) else each[None]
        for name, each in tensors.items()
    }


def _flat(numbers: Any) -> list[Any]:
    return [x for part in numbers for x in _flat(part)] if isinstance(numbers, list) else [numbers]


def _shape(numbers: Any) -> list[int]:
    return [len(numbers), *_shape(numbers[0])] if isinstance(numbers, list) else []
