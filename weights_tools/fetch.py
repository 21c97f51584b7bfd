"""Get an official model by its short name: say what will come, get it, check it, keep it whole.

The hub's own client downloads and resumes, into its cache; every file is checked there. With a
folder given, the checked files are then copied into it in one step. What is pinned to a known
commit and sha256 is in `minibert/weights/known_models.py`; everything else is what the hub has
today, which is said before anything is downloaded.
"""

import dataclasses
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from minibert.system.files import folder_written_whole
from minibert.weights import hub
from minibert.weights.files import WEIGHT_FILES
from minibert.weights.hub_errors import HubError, explained
from minibert.weights.known_models import PINNED
from weights_tools.verify.pack import known_fingerprints

_SMALL = {
    f"bert_uncased_L-{layers}_H-{width}_A-{width // 64}": (
        f"google/bert_uncased_L-{layers}_H-{width}_A-{width // 64}"
    )
    for layers in (2, 4, 6, 8, 10, 12)
    for width in (128, 256, 512, 768)
}

# Short name -> repository of the Hugging Face hub. Google's 24 small models of 2020 come last;
# bert_uncased_L-12_H-768_A-12 was trained anew for them and is not bert-base-uncased.
NAMES = {
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "bert-large-cased": "google-bert/bert-large-cased",
    "bert-large-uncased-whole-word-masking": "google-bert/bert-large-uncased-whole-word-masking",
    "bert-large-cased-whole-word-masking": "google-bert/bert-large-cased-whole-word-masking",
    "bert-base-multilingual-cased": "google-bert/bert-base-multilingual-cased",
    "bert-base-multilingual-uncased": "google-bert/bert-base-multilingual-uncased",
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "distilbert-base-cased": "distilbert/distilbert-base-cased",
    "distilbert-base-multilingual-cased": "distilbert/distilbert-base-multilingual-cased",
    "distilroberta-base": "distilbert/distilroberta-base",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlm-roberta-large": "FacebookAI/xlm-roberta-large",
    **{f"camembert-{size}": f"almanach/camembert-{size}" for size in ("base", "large")},
    **{
        f"albert-{size}-v2": f"albert/albert-{size}-v2"
        for size in ("base", "large", "xlarge", "xxlarge")
    },
    **{
        f"electra-{size}-{part}": f"google/electra-{size}-{part}"
        for size in ("small", "base", "large")
        for part in ("discriminator", "generator")
    },
    **{
        f"deberta-v3-{size}": f"microsoft/deberta-v3-{size}"
        for size in ("xsmall", "small", "base", "large")
    },
    "mdeberta-v3-base": "microsoft/mdeberta-v3-base",
    "tinybert-4": "huawei-noah/TinyBERT_General_4L_312D",
    "tinybert-6": "huawei-noah/TinyBERT_General_6L_768D",
    "bert-tiny": _SMALL["bert_uncased_L-2_H-128_A-2"],
    "bert-mini": _SMALL["bert_uncased_L-4_H-256_A-4"],
    "bert-small": _SMALL["bert_uncased_L-4_H-512_A-8"],
    "bert-medium": _SMALL["bert_uncased_L-8_H-512_A-8"],
    **_SMALL,
}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a download will bring. `sizes` are bytes by file; `pinned` are files whose sha256
    is known beforehand."""

    name: str
    repository: str
    revision: str
    sizes: dict[str, int | None]
    pinned: tuple[str, ...]

    def __str__(self) -> str:
        total = sum(size or 0 for size in self.sizes.values())
        lines = [f"{self.name}: {self.repository} at {self.revision}, {total:,} bytes"]
        for file, size in self.sizes.items():
            known = "sha256 published" if file in self.pinned else "checked against the hub alone"
            shown = "?" if size is None else f"{size:,}"
            lines.append(f"  {shown:>13}  {file}  ({known})")
        if not self.pinned:
            lines.append("  unpinned: this is what the hub has today; no sha256 was published")
        return "\n".join(lines)


def fetch(
    name: str,
    to: str | Path | None = None,
    *,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Fetch a model by short name (`NAMES`) or repository; gives the folder it is in.

    `to` is a new folder; None leaves the model in the hub's cache. `say` is told what will be
    downloaded, and how much, before it starts. An interrupted download goes on where it stopped.

    Raises ValueError for an unknown name, HubError if the hub does not give it, FileExistsError
    if `to` has files in it.
    """
    repository = repository_of(name)
    with folder_written_whole(to) if to is not None else nullcontext() as new:
        try:
            resolved = hub.resolve(repository, local_files_only=True)
            if say is not None:
                say(f"{name}: already in the cache, at commit {resolved.revision}")
        except HubError:
            if say is not None:
                say(str(plan(name)))
            resolved = hub.resolve(repository)
        _check_sizes(repository, resolved.path)
        if to is None or new is None:
            return resolved.path
        shutil.copytree(resolved.path, new, dirs_exist_ok=True)  # follows the cache's links
    return Path(to)


def plan(name: str) -> Plan:
    """What `fetch(name)` would download, from the hub's listing.

    Raises ValueError for an unknown name, HubError if the hub cannot be asked.
    """
    from huggingface_hub import HfApi

    repository = repository_of(name)
    pin = PINNED.get(repository)
    revision = pin.revision if pin else "main"
    try:
        listing = HfApi().model_info(repository, revision=revision, files_metadata=True)
    except Exception as error:
        raise explained(error, repository, revision) from error
    sizes = {file.rfilename: file.size for file in listing.siblings or []}
    weights = next((file for file in WEIGHT_FILES if file in sizes), None)
    wanted = [file for file in (*hub.SMALL_FILES, weights) if file in sizes]
    if weights is not None and weights.endswith(".index.json"):
        suffix = Path(weights.removesuffix(".index.json")).suffix
        wanted += sorted(file for file in sizes if file.endswith(suffix) and "-of-" in file)
    return Plan(
        name,
        repository,
        listing.sha or "an unknown commit",
        {str(file): sizes[str(file)] for file in wanted},
        tuple(file for file in wanted if pin is not None and file in pin.sha256),
    )


def repository_of(name: str) -> str:
    """The repository behind a short name; a name with a slash is one already.

    >>> repository_of("bert-tiny")
    'google/bert_uncased_L-2_H-128_A-2'
    """
    if name in NAMES:
        return NAMES[name]
    if name.count("/") == 1:
        return name
    raise ValueError(
        f"unknown model {name!r}: expected the name of a hub repository (org/name) or one of "
        f"{', '.join(name for name in NAMES if name not in _SMALL)} or Google's small ones, such "
        f"as {list(_SMALL)[0]}"
    )


def _check_sizes(repository: str, folder: Path) -> None:
    """The published sizes, where known: the last look before the files are handed out."""
    for file, known in known_fingerprints().get(repository, {"files": {}})["files"].items():
        path = folder / file
        if path.is_file() and path.stat().st_size != known.get("bytes", path.stat().st_size):
            raise HubError(
                f"{path} has {path.stat().st_size} bytes, published are {known['bytes']}: "
                f"delete it and fetch again"
            )


def say_on_stderr(text: str) -> None:
    """Tell the person at the terminal, and keep standard output for the result."""
    sys.stderr.write(f"{text}\n")
