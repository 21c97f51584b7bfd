"""A training step side by side with transformers' model in the same loop.

    python -m benchmarks.training_step [--blocks 4 --hidden 256 --length 64 --batch 16 --bf16]

The same rows, optimizer, clipping and number format; only the model and its loss differ. The steps
take turns, and the fastest of each counts. transformers computes the scores of all words at every
position; a third line does so here too, to show how much of the difference that is.
"""

import argparse
import functools
import time
from collections.abc import Callable

import torch
import transformers
from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.training.settings import TrainSettings
from minibert.training.step import PretrainingSums, Sums, make_optimizer, training_step


class AllPositions(nn.Module):
    """Any model with a `loss`, used like PretrainingSums."""

    def __init__(self, model: nn.Module, bf16: bool):
        super().__init__()
        self.model, self.bf16 = model, bf16

    def forward(self, **batch: Tensor) -> Sums:
        device = batch["input_ids"].device.type
        with torch.autocast(device, torch.bfloat16, enabled=self.bf16):
            loss = self.model(**batch).loss
        words, pairs = (batch["labels"] >= 0).sum(), torch.tensor(len(batch["labels"]))
        nothing = torch.zeros(())
        return Sums(pairs, loss * words, words, nothing, nothing, pairs, nothing)


def random_batch(config: BertConfig, rows: int, length: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, config.vocab_size, (rows, length), generator=generator)
    chosen = torch.rand(rows, length, generator=generator) < 0.15
    segments = (torch.arange(length) > length // 2).long().expand(rows, length)
    return {
        "input_ids": ids,
        "token_type_ids": segments,
        "attention_mask": torch.ones_like(ids),
        "labels": torch.where(chosen, ids, -100),
        "next_sentence_label": torch.arange(rows) % 2,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--length", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = BertConfig(
        vocab_size=arguments.vocab,
        hidden_size=arguments.hidden,
        num_hidden_layers=arguments.blocks,
        num_attention_heads=max(1, arguments.hidden // 64),
        intermediate_size=4 * arguments.hidden,
    )
    settings = TrainSettings()
    batch = random_batch(config, arguments.batch, arguments.length)
    batch = {name: tensor.to(device) for name, tensor in batch.items()}
    theirs = transformers.BertForPreTraining(transformers.BertConfig(**config.to_dict()))

    def new() -> BertForPreTraining:
        return BertForPreTraining(BertModel(config))

    modules: dict[str, nn.Module] = {
        "minibert": PretrainingSums(new(), arguments.bf16),
        "transformers": AllPositions(theirs, arguments.bf16),
        "minibert, all positions": AllPositions(new(), arguments.bf16),
    }
    steps: dict[str, Callable[[], Tensor]] = {}
    for name, module in modules.items():
        module.to(device).train()
        optimizer = make_optimizer(module, settings)
        steps[name] = functools.partial(training_step, module, optimizer, [batch], 1.0)
    best = dict.fromkeys(steps, float("inf"))
    for turn in range(arguments.steps + 1):
        for name, step in steps.items():
            start = time.perf_counter()
            step().cpu()
            if turn > 0:  # the first is warm-up
                best[name] = min(best[name], time.perf_counter() - start)
    tokens = arguments.batch * arguments.length
    for name, seconds in best.items():
        ratio = best["transformers"] / seconds
        print(f"{name:23} {tokens / seconds:9.0f} tokens/s   {ratio:5.2f} x transformers")


if __name__ == "__main__":
    main()
