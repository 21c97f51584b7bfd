"""On a GPU: sentences and tokens per second on mixed lengths and on 32 x 128, and the share of its
peak.

    python -m benchmarks.gpu [--base FOLDER] [--sentences 20000] [--peak 989]

`--peak` is the processor's stated TFLOP/s of dense bfloat16 products; without it no share is shown.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

import minibert
from benchmarks.measure import flops, interleaved, machine, summary
from benchmarks.measured_models import make_base, sentences
from minibert.fast.bert import FastBert


def candidates(folder: Path, texts: list[str]) -> dict[str, Callable[[], np.ndarray]]:
    """minibert in four forms, transformers and sentence-transformers in two each."""
    import transformers
    from sentence_transformers import SentenceTransformer

    bert = minibert.load(folder)
    bert.pretraining.to("cuda")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    functions: dict[str, Callable[[], np.ndarray]] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        whole = SentenceTransformer(str(folder), device="cuda").to(dtype)
        model = transformers.AutoModel.from_pretrained(folder, dtype=dtype).to("cuda").eval()

        def theirs(model=model) -> np.ndarray:
            order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
            vectors = np.empty((len(texts), model.config.hidden_size), np.float32)
            for start in range(0, len(texts), 128):
                rows = order[start : start + 128]
                batch = tokenizer([texts[i] for i in rows], return_tensors="pt", padding=True)
                batch = batch.to("cuda")
                with torch.inference_mode():
                    states = model(**batch).last_hidden_state
                mask = batch["attention_mask"][:, :, None]
                vectors[rows] = ((states * mask).sum(1) / mask.sum(1)).float().cpu().numpy()
            return vectors

        functions[f"transformers sdpa {name}"] = theirs

        def encode(whole=whole) -> np.ndarray:
            return whole.encode(texts, batch_size=128, convert_to_tensor=True).float().cpu().numpy()

        functions[f"sentence-transformers {name}"] = encode
        functions[f"minibert {name}"] = partial(bert.embed, texts, precision=name)
        functions[f"minibert {name}, compiled"] = partial(
            bert.embed, texts, precision=name, compile=True
        )
    return functions


def fixed_shape(folder: Path, rows: int = 32, length: int = 128) -> dict[str, Callable[[], None]]:
    """The encoder alone, on rows of equal length; the rows are real everywhere."""
    import transformers

    bert = minibert.load(folder)
    bert.pretraining.to("cuda")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1000, bert.config.vocab_size, (rows, length), generator=generator)
    ids, mask = ids.to("cuda"), torch.ones_like(ids).to("cuda")
    functions: dict[str, Callable[[], None]] = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        model = transformers.AutoModel.from_pretrained(folder, dtype=dtype).to("cuda").eval()
        models = {
            "transformers sdpa": model,
            "minibert": FastBert(bert.model, name),
            "minibert, compiled": FastBert(bert.model, name, compile=True),
        }
        for whose, run in models.items():

            def call(run=run) -> None:
                with torch.inference_mode():
                    for _ in range(20):
                        run(ids, attention_mask=mask)
                torch.cuda.synchronize()

            functions[f"{whose} {name}"] = call
    return functions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="a folder with bert-base")
    parser.add_argument("--sentences", type=int, default=20000)
    parser.add_argument("--peak", type=float, metavar="TFLOPS")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("no GPU that torch can use: nothing to measure")
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.base or make_base(Path(scratch) / "base")
        texts = (sentences() * (arguments.sentences // 1000 + 1))[: arguments.sentences]
        bert = minibert.load(folder)
        lengths = [min(512, len(bert.tokenizer.ids(text)) + 2) for text in texts]
        work = flops(bert.config, lengths)
        functions = candidates(folder, texts)
        exact = functions["transformers sdpa float32"]()
        times = interleaved(functions, arguments.rounds)
        print(", ".join(f"{name} {value}" for name, value in machine().items()), "\n")
        print("| candidate | sentences/s | tokens/s | TFLOP/s | of peak | smallest cosine |")
        print("|---|---|---|---|---|---|")
        for name in functions:
            seconds = summary(times[name]).median
            vectors = functions[name]()
            norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(exact, axis=1)
            cosine = ((vectors * exact).sum(1) / norms).min()
            speed = work / seconds / 1e12
            share = f"{speed / arguments.peak:.0%}" if arguments.peak else ""
            print(
                f"| {name} | {len(texts) / seconds:,.0f} | {sum(lengths) / seconds:,.0f} "
                f"| {speed:.1f} | {share} | {cosine:.5f} |"
            )
        times = interleaved(fixed := fixed_shape(folder), arguments.rounds)
        work = 20 * flops(bert.config, [128] * 32)
        print("\n| 32 x 128 | tokens/s | TFLOP/s | of peak |")
        print("|---|---|---|---|")
        for name in fixed:
            seconds = summary(times[name]).median
            speed = work / seconds / 1e12
            share = f"{speed / arguments.peak:.0%}" if arguments.peak else ""
            print(f"| {name} | {20 * 32 * 128 / seconds:,.0f} | {speed:.1f} | {share} |")


if __name__ == "__main__":
    main()
