"""Train a vocabulary on one text, here and with Hugging Face's trainer: CPU time and memory.

    python -m benchmarks.wordpiece_trainer TEXT.txt [--megabytes 10] [--size 30522]

Each trainer runs in a process of its own, on one thread; times are seconds of CPU.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path


def with_minibert(lines: list[str], size: int) -> list[str]:
    from minibert.training.wordpiece_trainer import count_words, train_vocabulary

    return train_vocabulary(count_words(lines), size, min_frequency=0)


def with_tokenizers(lines: list[str], size: int) -> list[str]:
    import tokenizers

    tokenizer = tokenizers.BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(lines, size, min_frequency=0, show_progress=False)
    vocab = tokenizer.get_vocab()
    return sorted(vocab, key=vocab.__getitem__)


TRAINERS = {"minibert": with_minibert, "tokenizers": with_tokenizers}


def measure(name: str, text: Path, megabytes: float, size: int) -> dict[str, float]:
    """Seconds of CPU, text and imports not counted, and the process's peak memory, all counted."""
    with text.open(encoding="utf-8") as file:
        lines = file.read(int(megabytes * 1e6)).split("\n")
    TRAINERS[name](lines[:10], 500)  # imports and start-up
    start = time.process_time()
    tokens = TRAINERS[name](lines, size)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"tokens": len(tokens), "seconds": seconds, "megabytes": peak / 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--megabytes", type=float, default=10)
    parser.add_argument("--size", type=int, default=30522)
    parser.add_argument("--only", choices=TRAINERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        figures = measure(arguments.only, arguments.text, arguments.megabytes, arguments.size)
        print(json.dumps(figures))
        return
    results = {}
    for name in TRAINERS:
        process = subprocess.run(
            [sys.executable, "-m", "benchmarks.wordpiece_trainer", *sys.argv[1:], "--only", name],
            env={**os.environ, "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        results[name] = json.loads(process.stdout)
        print(
            f"{name:10}  {results[name]['tokens']:6} tokens  {results[name]['seconds']:7.2f} s"
            f"  {results[name]['megabytes']:7.0f} MB"
        )
    ratio = results["tokenizers"]["seconds"] / results["minibert"]["seconds"]
    print(f"minibert is {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
