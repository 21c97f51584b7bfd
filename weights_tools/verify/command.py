"""Is this model the one it claims to be, and is our computation right on it?

Four kinds of evidence, one table:

files         size and sha256 against those that were published
tokenizer     the ids of a text against those of tokenizer.json, compiled, if that is installed
golden        our outputs against numbers that others published (`verify/golden`)
transformers  our outputs against transformers on the same folder, if it is installed
"""

import tempfile
from pathlib import Path

from minibert.variants.table import architecture_in
from minibert.weights.files import WEIGHT_FILES, model_folder
from minibert.weights.loading import load_weights
from weights_tools.convert import convert
from weights_tools.tensorflow.checkpoint import TFCheckpoint
from weights_tools.verify.check_files import check_files
from weights_tools.verify.check_golden import check_golden, pack_row
from weights_tools.verify.check_tokenizer import check_tokenizer
from weights_tools.verify.check_transformers import check_transformers
from weights_tools.verify.pack import PACKS, Pack, known_fingerprints, load_pack
from weights_tools.verify.verdict import NOT_RUN, PASS, Row, Verdict


def verify(
    source: str | Path | None = None,
    *,
    claim: str | None = None,
    pack: str | Path | None = None,
    with_transformers: bool = True,
    progress: bool = False,
) -> Verdict:
    """Check a model folder, a weight file or a TensorFlow checkpoint; None checks the packs alone.

    `claim` is what the model says it is: "bert-base-uncased" or its repository on the hub.
    Without it the name of the folder is taken, and failing that, the sizes: then a model that does
    not fit is taken for another one of the same size, not for a broken one. `pack` is the path
    of another golden pack, to be used whatever the name.

    Raises FileNotFoundError or ValueError if the source cannot be opened at all, and ValueError
    for a claim about which nothing is known here.
    """
    packs = [load_pack(pack)] if pack is not None else [load_pack(name) for name in PACKS]
    if source is None:
        return Verdict("no model given", tuple(pack_row(one, "no model given") for one in packs))
    path = Path(source)
    known = {name for one in packs for name in (one.name, *one.claims)}
    known |= {release["model"] for release in known_fingerprints().values()}
    claim = _claim_of(path, known) if claim is None else claim.rpartition("/")[2]
    if claim is not None and claim not in known:
        raise ValueError(
            f"nothing is known here about a model named {claim!r}: expected one of "
            f"{', '.join(sorted(known))}; leave the claim out to check what does not need it"
        )
    rows = check_files(path, claim)
    rows += check_tokenizer(model_folder(path if path.is_dir() else path.parent))
    if not _is_tensorflow(path):
        rows += _check_model(path, packs, claim, pack is not None, with_transformers, progress)
        return Verdict(str(source), tuple(rows))
    checkpoint = TFCheckpoint(path)
    size = checkpoint.verify(progress)
    rows.append(Row("files", "checksum of every tensor", PASS, f"{size:,} bytes"))
    with tempfile.TemporaryDirectory(prefix="verify.") as temporary:
        folder = Path(temporary) / "converted"
        # Upper or lower case concerns the tokenizer, which no check here uses.
        convert(path, folder, lowercase=False, progress=progress)
        rows += _check_model(folder, packs, claim, pack is not None, with_transformers, progress)
    return Verdict(str(source), tuple(rows))


def _check_model(
    path: Path,
    packs: list[Pack],
    claim: str | None,
    chosen: bool,
    with_transformers: bool,
    progress: bool,
) -> list[Row]:
    """The golden rows and the transformers rows of a folder in the Hugging Face layout."""
    folder = model_folder(path if path.is_dir() else path.parent)
    model, _ = load_weights(path, architecture=architecture_in(folder))
    rows = []
    for pack in packs:
        claimed = chosen or claim in (pack.name, *pack.claims)
        rows += check_golden(model, pack, claimed, progress)
    if not with_transformers:
        rows.append(Row("transformers", "transformers", NOT_RUN, "not asked for"))
    else:
        rows += check_transformers(path, model)
    return rows


def _is_tensorflow(path: Path) -> bool:
    if path.is_dir():
        return not any((path / name).is_file() for name in WEIGHT_FILES) and any(
            path.glob("*.index")
        )
    return path.suffix == ".index" or Path(f"{path}.index").is_file()


def _claim_of(path: Path, known: set[str]) -> str | None:
    """The model that a path names: a folder's name, or that of a repository in the hub's cache."""
    for part in reversed(path.absolute().parts):
        name = part.rpartition("--")[2]
        if name in known:
            return name
    return None
