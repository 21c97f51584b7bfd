"""A name -> a local folder: on disk, in the box, or on the hub at a known commit.

Three kinds of name, tried in this order: a path that exists, the model in the box, a repository
of the Hugging Face hub. The hub's own client downloads, resumes and caches. This file decides
what is fetched, checks what arrives, and says in plain words why a name cannot be had. No other
model is ever taken in its place.

Source: the cache layout and the file names are those of huggingface_hub and transformers.
"""

import hashlib
import os
import re
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.weights.files import WEIGHT_FILES, is_complete, read_shard_index
from minibert.weights.hub_errors import (
    HubError,
    HubUnreachable,
    explained,
    unreachable,
    ways_on,
    without_password,
)
from minibert.weights.known_models import (
    ALIASES,
    BUNDLED_FOLDER,
    BUNDLED_NAME,
    OWNER,
    PINNED,
    SENTENCE_NAME,
    SUGGESTIONS,
)

# One of these holds the pieces of a tokenizer.
VOCABULARIES = (
    "vocab.txt",
    "tokenizer.json",
    "vocab.json",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
)
# Weights are fetched after these: if they are in the cache, everything else is too.
SMALL_FILES = (
    "config.json",
    *VOCABULARIES,
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
)
LARGE = 2**24  # bytes: the checksum of a larger file takes too long to be computed at every load


@dataclass(frozen=True)
class Resolved:
    """Where a model lies on this machine, and where it came from."""

    path: Path  # a folder, or the one file that was named
    source: str  # "disk", "bundled" or "hub"
    revision: str | None  # the full commit, where the source is the hub


def resolve(
    name_or_path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    tokenizer_only: bool = False,
) -> Resolved:
    """Find a model by name, and download it if that is needed.

    `revision` is a branch, tag or commit of a hub repository: by default the pinned commit where
    this file pins one, else "main". Every file is checked once, as it arrives, against its pinned
    checksum, or else the one that the hub lists for it. Of a pinned commit all pinned files are
    needed, and no others are fetched, whatever a mirror lists. With `local_files_only`, or with
    HF_HUB_OFFLINE=1, only the cache is read. With `tokenizer_only` no weights are fetched. A hub
    that cannot be reached is a warning if the revision is in the cache, and an error if not;
    where no revision is asked for, "main" in the cache does for a pinned one, with a warning.

    Raises FileNotFoundError for a path that is not there, ValueError for a name that can be
    neither a path nor a repository, HubError for everything that goes wrong with the hub.

    >>> resolve(Path(__file__).parent).source
    'disk'
    >>> resolve("./no/such/folder")
    Traceback (most recent call last):
    ...
    FileNotFoundError: expected a model's folder or file, got the path ./no/such/folder, ...
    """
    name = str(os.fspath(name_or_path))  # a plain one: pathlib refuses subclasses
    if not name:
        raise ValueError("expected a path or a model's name, got an empty string")
    # os.path, unlike Path, takes a name that no file can have for one that is not there.
    path = os.path.expanduser(name)  # noqa: PTH111
    # A TensorFlow checkpoint is named by its prefix, which is no file of its own.
    if os.path.exists(path) or os.path.exists(path + ".index"):  # noqa: PTH110
        if revision is not None:
            raise ValueError(f"{name} is on disk, where a revision ({revision}) means nothing")
        return Resolved(Path(path), "disk", None)
    if name in (BUNDLED_NAME, SENTENCE_NAME):
        folder = BUNDLED_FOLDER.with_name(name)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"this build of minibert has no bundled model: expected it in {folder}. "
                "Give a folder or the name of a hub repository instead"
            )
        return Resolved(folder, "bundled", None)
    if isinstance(name_or_path, os.PathLike) or _looks_like_path(name):
        raise FileNotFoundError(
            f"expected a model's folder or file, got the path {name}, which does not exist "
            f"(seen from {Path.cwd()}). Correct the path; a hub repository is written org/name"
        )
    cache = None if cache_dir is None else str(Path(cache_dir).expanduser())
    repo = ALIASES.get(name, name)
    return _from_hub(repo, revision, cache, local_files_only, tokenizer_only)


def _looks_like_path(name: str) -> bool:
    endings = ("/", ".safetensors", ".bin", ".ckpt", ".json", ".txt")
    starts_or_ends = name.startswith((".", "/", "~")) or name.endswith(endings)
    return "://" not in name and (starts_or_ends or "\\" in name or name.count("/") > 1)


def _from_hub(
    repo: str, revision: str | None, cache: str | None, local_files_only: bool, tokenizer_only: bool
) -> Resolved:
    from huggingface_hub import HfApi, constants, utils

    try:
        repo.encode("ascii")
        utils.validate_repo_id(repo)
    except ValueError as error:
        raise ValueError(
            f"expected a path that exists or a hub repository such as {SUGGESTIONS[0]} "
            f"(letters a-z, digits, '-', '_', '.', and at most one '/'), got {repo!r}"
        ) from error
    pin, asked = PINNED.get(repo), revision
    if pin is not None and revision in (None, pin.revision):
        revision, sums = pin.revision, pin.sha256
    else:
        revision, sums = revision or "main", {}

    offline = local_files_only or constants.HF_HUB_OFFLINE
    needed = [file for file in sums if not tokenizer_only or file in SMALL_FILES]
    cached = _cached_folder(repo, revision, cache, tokenizer_only, needed)
    if cached is not None and (sums or offline):
        return Resolved(cached, "hub", cached.name)
    if cached is None and sums and asked is None:
        cached = _cached_folder(repo, "main", cache, tokenizer_only)
    if offline and cached is not None:
        warnings.warn(
            f"{repo} is taken from the cache at commit {cached.name}: the pinned one, {revision}, "
            "is not there, and downloads are switched off",
            stacklevel=3,
        )
        return Resolved(cached, "hub", cached.name)
    if offline:
        raise HubUnreachable(
            f"downloads are switched off, and the cache {cache or constants.HF_HUB_CACHE} does "
            f"not hold {repo} at {revision}, or not all of it. {ways_on(repo)}"
        )
    try:
        listing = HfApi().model_info(
            repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
    except Exception as error:
        if cached is None or not unreachable(error):
            raise explained(error, repo, revision) from error
        warnings.warn(
            f"the hub cannot be reached ({without_password(error)}); {repo} is taken from the "
            f"cache, at commit {cached.name}",
            stacklevel=3,
        )
        return Resolved(cached, "hub", cached.name)
    try:
        return _download(repo, revision, listing, cache, sums, tokenizer_only)
    except HubError:
        raise
    except Exception as error:
        raise explained(error, repo, revision) from error


def _cached_folder(
    repo: str,
    revision: str,
    cache: str | None,
    tokenizer_only: bool,
    needed: Sequence[str] = ("config.json",),
) -> Path | None:
    """The cache's folder for a revision, if it has the config and all of what is needed.

    What google-bert has today had no owner until 2024, and other programs go on asking for
    `bert-base-uncased`: the cache may hold it under either name.
    """
    from huggingface_hub import try_to_load_from_cache

    other = repo.removeprefix(f"{OWNER}/") if "/" in repo else f"{OWNER}/{repo}"
    for name in dict.fromkeys([repo, other]):
        config = try_to_load_from_cache(name, "config.json", cache_dir=cache, revision=revision)
        if isinstance(config, str):
            folder = Path(config).parent
            for path in folder.rglob("*"):
                if path.is_file() and _is_damaged(path):
                    _remove(path)  # it will be fetched again
            if _is_whole(folder, tokenizer_only) and all((folder / f).exists() for f in needed):
                return folder
    return None


def _is_whole(folder: Path, tokenizer_only: bool) -> bool:
    if tokenizer_only:
        return any((folder / file).exists() for file in VOCABULARIES)
    weights = next((folder / file for file in WEIGHT_FILES if (folder / file).exists()), None)
    return weights is not None and all((folder / shard).exists() for shard in _shards(weights))


def _shards(weights: Path) -> list[str]:
    """The files that an index of sharded weights names; none for weights in one file."""
    if weights.suffix != ".json":
        return []
    try:
        return sorted(set(read_shard_index(weights).values()))
    except ValueError as error:
        raise HubError(f"{error}. Take another revision of the repository") from error


def _download(
    repo: str,
    revision: str,
    listing: Any,
    cache: str | None,
    sums: dict[str, str],
    tokenizer_only: bool,
) -> Resolved:
    from huggingface_hub import constants, hf_hub_download

    files = {file.rfilename: file for file in listing.siblings}
    if sums:
        absent = sorted(set(sums) - set(files))
        if absent:
            raise HubError(
                f"{repo} at {revision} must have {', '.join(absent)}, and {constants.ENDPOINT} "
                f"does not list it: suspect the proxy or mirror in between. {ways_on(repo)}"
            )
        files = {name: files[name] for name in sums}
    weights = next((file for file in WEIGHT_FILES if file in files), None)
    if weights is None or "config.json" not in files:
        raise HubError(
            f"{repo} at {revision} is no model that minibert reads: expected config.json and one "
            f"of {', '.join(WEIGHT_FILES)}, got {', '.join(sorted(files)) or 'no files'}. Take "
            "another repository or revision, or convert its weights and give the folder"
        )
    for name in SMALL_FILES if tokenizer_only else (*SMALL_FILES, weights):
        if name in files:
            path = _fetch(repo, files[name], listing.sha, cache, sums)
    for shard in [] if tokenizer_only else _shards(path):
        if shard not in files:
            raise HubError(
                f"{weights} of {repo} names {shard}, which the repository does not have. "
                "Take another revision of it"
            )
        _fetch(repo, files[shard], listing.sha, cache, sums)
    # Asked for by its own name, the cache remembers which commit `revision` is.
    folder = Path(hf_hub_download(repo, "config.json", revision=revision, cache_dir=cache)).parent
    if folder.name != listing.sha:
        raise HubError(f"{repo} got a new commit at {revision} during the download: run again")
    return Resolved(folder, "hub", folder.name)


def _fetch(repo: str, file: Any, commit: str, cache: str | None, sums: dict[str, str]) -> Path:
    """Bring one file of the hub's listing into the cache; check it if it has just arrived."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    name = file.rfilename
    known = try_to_load_from_cache(repo, name, cache_dir=cache, revision=commit)
    path = Path(hf_hub_download(repo, name, revision=commit, cache_dir=cache))
    expected = sums.get(name) or (file.lfs.sha256 if file.lfs else file.blob_id)
    if isinstance(known, str) or expected is None:
        return path
    got = checksum(path, like=expected)
    if got != expected:
        _remove(path)
        raise HubError(
            f"{name} of {repo} arrived damaged, or is not the file it should be: expected "
            f"checksum {expected}, got {got}. The bad file was deleted; run again. If it "
            "happens again, suspect the proxy or mirror in between"
        )
    return path


def _remove(path: Path) -> None:
    blob = path.resolve()  # in the cache, a file is a link to its content
    path.unlink()
    blob.unlink(missing_ok=True)


def _is_damaged(path: Path) -> bool:
    """Whether a file of the cache has changed since it came; of a large one, if it is shorter. An
    old pickle does not say how long it is: its checksum is computed whatever its size."""
    if path.stat().st_size >= LARGE:
        if path.suffix == ".safetensors":
            return not is_complete(path)
        with path.open("rb") as stream:
            if stream.read(2) == b"PK":
                return not zipfile.is_zipfile(path)
        if path.suffix != ".bin":
            return False
    name = path.resolve().name  # the checksum that it came with
    named = re.fullmatch("[0-9a-f]{40}|[0-9a-f]{64}", name)
    return named is not None and checksum(path, name) != name


def checksum(path: Path, like: str = "") -> str:
    """The sha256 of a file; where 40 digits are asked for, the sha1 that git names it by."""
    digest = hashlib.sha256()
    if len(like) == 40:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
