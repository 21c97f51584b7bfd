"""Any BERT weight file to a folder that minibert, transformers and sentence-transformers load.

The usual source is Google's zip: `bert_model.ckpt.*`, `bert_config.json`, `vocab.txt`. The
tensors are renamed, kernels are turned from (in, out) to (out, in), every checksum is verified,
and everything goes through memory one tensor at a time.

Not stored in Google's files: whether the vocabulary is lower-cased. It is taken from the name
(`uncased_L-12_H-768_A-12`) or has to be said. Nor can one see which GELU a model was trained
with: `hidden_act` stays what the config says.

The tokenizer files of a Hugging Face folder are copied as they are, so that ids stay the same.
"""

import dataclasses
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from minibert.core.config import BertConfig
from minibert.system.files import folder_written_whole, write_json
from minibert.weights.names import CLASSES, modern_name
from weights_tools.errors import CorruptError, UnsupportedDtypeError, WeightsError
from weights_tools.files.reading import StoredTensor, WeightFiles, by_key, open_weights, read_json
from weights_tools.files.writing import Planned, write_safetensors, write_tf_checkpoint
from weights_tools.names import tf_name_of
from weights_tools.tensorflow.checkpoint import TFCheckpoint

_CONFIG_NAMES = ("config.json", "bert_config.json")
TOKENIZER_FILES = (
    "vocab.txt",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_WEIGHT_DTYPES = ("float32", "float16", "bfloat16", "float64")


@dataclasses.dataclass(frozen=True)
class ConvertReport:
    """What was written where, and what of the source was left out, with the reason."""

    folder: Path
    files: tuple[str, ...]
    tensors: int
    numbers: int
    ignored: dict[str, str]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same, for `--json`."""
        return {**dataclasses.asdict(self), "folder": str(self.folder)}

    def __str__(self) -> str:
        lines = [f"{self.folder}: {self.tensors} tensors, {self.numbers:,} numbers"]
        lines.append(f"  written: {', '.join(self.files)}")
        for reason in dict.fromkeys(self.ignored.values()):
            names = [name for name, why in self.ignored.items() if why == reason]
            lines.append(f"  ignored: {len(names)} x {reason} ({names[0]}, ...)")
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])


@dataclasses.dataclass(frozen=True)
class Model:
    """A source that has been opened and found whole: config, tensors by key, their folder."""

    config: BertConfig
    extra_config: dict[str, Any]
    tensors: dict[str, StoredTensor]
    ignored: dict[str, str]
    folder: Path
    notes: tuple[str, ...]


def convert(
    source: str | Path,
    folder: str | Path,
    *,
    lowercase: bool | None = None,
    progress: bool = False,
) -> ConvertReport:
    """Convert `source` (a folder, a file, a TensorFlow prefix or Google's zip) to a new folder.

    `lowercase` says whether the vocabulary is uncased; None takes it from the tokenizer's files
    or the name. Weights are written as float32. Nothing is left behind if something goes wrong.

    Raises FileNotFoundError, FileExistsError, or a `WeightsError` that names the tensor.
    """
    folder = Path(folder)
    with folder_written_whole(folder) as new, unpacked(Path(source), new) as opened:
        model = open_model(opened)
        notes = list(model.notes)
        names = [name for name in TOKENIZER_FILES if (model.folder / name).is_file()]
        if lowercase is None and "vocab.txt" in names and "tokenizer.json" not in names:
            lowercase = guess_lowercase(Path(source), opened)
        planned = [
            Planned(key, tensor.shape_as_pytorch, tensor.read_as_pytorch)
            for key, tensor in _output_order(model)
        ]
        write_safetensors(new / "model.safetensors", planned, progress=progress)
        write_json(new / "config.json", _config(model))
        for name in names:
            shutil.copyfile(model.folder / name, new / name)
        if not {"vocab.txt", "tokenizer.json"} & set(names):
            notes.append("no vocab.txt and no tokenizer.json, so the folder has no tokenizer")
        else:
            _complete_tokenizer(new / "tokenizer_config.json", model.config, lowercase)
        files = tuple(sorted(file.name for file in new.iterdir() if file.is_file()))
        numbers = sum(tensor.size for tensor in model.tensors.values())
        return ConvertReport(folder, files, len(planned), numbers, model.ignored, tuple(notes))


def _complete_tokenizer(settings: Path, config: BertConfig, lowercase: bool | None) -> None:
    """Write what a copied tokenizer_config.json lacks; Google's files have none at all."""
    stored = read_json(settings) if settings.is_file() else {}
    case = {} if lowercase is None else {"do_lower_case": lowercase}
    usual = {
        "tokenizer_class": "BertTokenizer",
        "model_max_length": config.max_position_embeddings,
    }
    write_json(settings, {**usual, **stored, **case})


def convert_to_tf(
    source: str | Path, folder: str | Path, *, progress: bool = False
) -> ConvertReport:
    """The other direction: a new folder with `bert_model.ckpt.*` under Google's names."""
    folder = Path(folder)
    with folder_written_whole(folder) as new, unpacked(Path(source), new) as opened:
        model = open_model(opened)
        planned = []
        for key, tensor in model.tensors.items():
            name, transposed = tf_name_of(key)
            planned.append(_as_tf(name, tensor, transposed))
        write_tf_checkpoint(new / "bert_model.ckpt", planned, progress=progress)
        config = {k: v for k, v in vars(model.config).items() if k not in _NOT_GOOGLES}
        write_json(new / "bert_config.json", config)
        if (model.folder / "vocab.txt").is_file():
            shutil.copyfile(model.folder / "vocab.txt", new / "vocab.txt")
        files = tuple(sorted(file.name for file in new.iterdir() if file.is_file()))
        numbers = sum(tensor.size for tensor in model.tensors.values())
        return ConvertReport(folder, files, len(planned), numbers, model.ignored, model.notes)


# What Google's config says nothing of.
_NOT_GOOGLES = ("layer_norm_eps", "pad_token_id")


def _as_tf(name: str, tensor: StoredTensor, transposed: bool) -> Planned:
    """A tensor of any source in TensorFlow's orientation."""
    stored = tensor.meaning.transposed
    if stored == transposed:
        return Planned(name, tensor.shape, tensor.read)
    return Planned(name, tensor.shape[::-1], lambda: tensor.read().T)


def open_model(source: Path) -> Model:
    """Open a source and check that it is one whole BERT: every tensor there, every shape right."""
    weights = open_weights(source)
    folder = weights.files[0].parent
    config_file = next((folder / n for n in _CONFIG_NAMES if (folder / n).is_file()), None)
    if config_file is None:
        raise FileNotFoundError(
            f"{folder} has neither {' nor '.join(_CONFIG_NAMES)}: put the config beside the weights"
        )
    config = BertConfig.from_json_file(config_file)
    tensors, ignored, unknown = by_key(weights)
    _check_names(weights, unknown)
    _settle_tied(weights, tensors, ignored)
    _check_complete(config, tensors, source)
    if weights.kind == "TensorFlow checkpoint":
        TFCheckpoint(weights.files[0]).check_files()
    vocab = folder / "vocab.txt"
    notes = tuple(_check_vocab(vocab, config)) if vocab.is_file() else ()
    notes += tuple(
        f"{tensor.name} is {tensor.dtype}; rounded to float32"
        for tensor in tensors.values()
        if tensor.dtype == "float64"
    )[:1]
    extra = {k: v for k, v in read_json(config_file).items() if k in ("id2label", "label2id")}
    return Model(config, extra, tensors, ignored, folder, notes)


def expected_shapes(config: BertConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a BERT with both pretraining heads, by Hugging Face key.

    >>> len(expected_shapes(BertConfig()))
    206
    >>> expected_shapes(BertConfig())["cls.seq_relationship.weight"]
    (2, 768)
    """
    import torch

    from minibert.core.heads import BertForPreTraining
    from minibert.core.model import BertModel
    from minibert.weights.loading import hugging_face_state

    with torch.device("meta"):
        model = BertForPreTraining(BertModel(config))
    return {key: tuple(tensor.shape) for key, tensor in hugging_face_state(model).items()}


def _check_names(weights: WeightFiles, unknown: list[str]) -> None:
    if any(name.endswith("/.ATTRIBUTES/VARIABLE_VALUE") for name in unknown):
        raise WeightsError(
            "this is a TensorFlow 2 object-graph checkpoint (names end in VARIABLE_VALUE), not "
            "one of google-research/bert: take the checkpoint of the original release"
        )
    if unknown:
        raise WeightsError(
            f"{weights.files[0]}: {len(unknown)} tensors have names that are not BERT's: "
            f"{', '.join(unknown[:5])}. Is this another architecture?"
        )


def _settle_tied(
    weights: WeightFiles, tensors: dict[str, StoredTensor], ignored: dict[str, str]
) -> None:
    """A tied copy may be left out only if it is one; a bias may be stored as the copy alone."""
    copies = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }
    for name in list(ignored):
        key = copies.get(modern_name(name))
        if key is None:
            continue
        copy = weights.tensors[name]
        if key not in tensors and key == "cls.predictions.bias":
            tensors[key] = copy
            del ignored[name]
        elif key in tensors and not np.array_equal(copy.read(), tensors[key].read()):
            raise WeightsError(
                f"{name} differs from {key}: in BERT they are one tensor (tied), and a converted "
                f"model would compute with one of them"
            )


def _check_complete(config: BertConfig, tensors: dict[str, StoredTensor], source: Path) -> None:
    """The encoder must be whole; a head may be absent, but not half there."""
    if config.num_hidden_layers > len(tensors):
        raise WeightsError(
            f"the config asks for {config.num_hidden_layers} blocks, {source} holds {len(tensors)} "
            "tensors: the two do not belong together"
        )
    expected = expected_shapes(config)
    for head in ("bert.pooler.", "cls.predictions.", "cls.seq_relationship."):
        if not any(key.startswith(head) for key in tensors):
            expected = {key: shape for key, shape in expected.items() if not key.startswith(head)}
    missing = [key for key in expected if key not in tensors]
    surplus = [k for k in tensors if k not in expected and not k.startswith(("classifier", "qa_"))]
    if missing or surplus:
        what = f"lacks {missing[0]}" if missing else f"has {surplus[0]}, which has no place"
        raise WeightsError(
            f"{source} {what} ({len(missing)} missing, {len(surplus)} too many for the config): "
            f"expected {len(expected)} tensors. Do the config and the weights belong together?"
        )
    for key, tensor in tensors.items():
        if tensor.dtype not in _WEIGHT_DTYPES:
            raise UnsupportedDtypeError(
                f"{tensor.name} holds {tensor.dtype} numbers; expected one of {_WEIGHT_DTYPES}"
            )
        if key in expected and tensor.shape_as_pytorch != expected[key]:
            raise WeightsError(
                f"{tensor.name} has shape {tensor.shape}, the config asks for "
                f"{expected[key][::-1] if tensor.meaning.transposed else expected[key]}"
            )


def _check_vocab(vocab: Path, config: BertConfig) -> Iterator[str]:
    try:
        words = vocab.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise CorruptError(f"{vocab} is not UTF-8 text") from None
    count = len(words) - (words[-1] == "")
    if count > config.vocab_size:
        raise WeightsError(
            f"{vocab} has {count} words, the model {config.vocab_size}: "
            f"the vocabulary belongs to another model"
        )
    if count < config.vocab_size:
        yield f"vocab.txt has {count} words, the embedding table {config.vocab_size} rows"


def _output_order(model: Model) -> list[tuple[str, StoredTensor]]:
    """Keys as transformers expects them: without `bert.` where there is no head at all."""
    heads = any(not key.startswith("bert.") for key in model.tensors)
    order = {key: number for number, key in enumerate(expected_shapes(model.config))}
    keys = sorted(model.tensors, key=lambda key: (order.get(key, len(order)), key))
    return [(key if heads else key.removeprefix("bert."), model.tensors[key]) for key in keys]


def _config(model: Model) -> dict[str, Any]:
    keys = model.tensors
    heads = {"masked_word": "cls.predictions.bias", "next_sentence": "cls.seq_relationship.weight"}
    architecture = CLASSES[tuple(head for head, key in heads.items() if key in keys)]
    if "qa_outputs.weight" in keys:
        architecture = "BertForQuestionAnswering"
    elif "classifier.weight" in keys:
        architecture = "BertForSequenceClassification"
    config = {"architectures": [architecture], **model.config.to_dict(), **model.extra_config}
    if architecture == "BertForSequenceClassification" and "id2label" not in config:
        count = keys["classifier.weight"].shape[0]
        config["id2label"] = {str(n): f"LABEL_{n}" for n in range(count)}
        config["label2id"] = {f"LABEL_{n}": n for n in range(count)}
    return config


def guess_lowercase(source: Path, opened: Path) -> bool:
    """Whether a vocabulary is uncased, from tokenizer_config.json or from the names.

    >>> guess_lowercase(Path("uncased_L-12_H-768_A-12.zip"), Path("anywhere"))
    True
    """
    folder = opened if opened.is_dir() else opened.parent
    settings = folder / "tokenizer_config.json"
    if settings.is_file():
        lowercase = read_json(settings).get("do_lower_case")
        if isinstance(lowercase, bool):
            return lowercase
    for path in (source, source.absolute().parent):
        for part in reversed(path.parts[-2:]):
            if "uncased" in part.lower():
                return True
            if "cased" in part.lower():
                return False
    raise WeightsError(
        f"is the vocabulary of {source} lower-cased? Its files do not say, nor does its name "
        f"(neither 'uncased' nor 'cased'). Say --uncased or --cased"
    )


@contextmanager
def unpacked(source: Path, inside: Path) -> Iterator[Path]:
    """`source` itself, or, for a zip, a temporary folder with the model files in it."""
    if source.suffix != ".zip":
        yield source
        return
    if not source.is_file():
        raise FileNotFoundError(f"{source} is not there")
    temporary = inside / "unpacked"
    temporary.mkdir()
    try:
        _unpack(source, temporary)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as e:
        raise CorruptError(f"{source} cannot be unpacked: {e}. Get it again") from None
    yield temporary
    shutil.rmtree(temporary)


def _unpack(source: Path, folder: Path) -> None:
    """The files of a model out of a zip, without the folders in it."""
    with zipfile.ZipFile(source) as archive:
        _check_room(source, archive, folder)
        for member in archive.infolist():
            name = PurePosixPath(member.filename).name  # the path in the zip is not followed
            if not _belongs_to_model(name) or member.is_dir():
                continue
            if (folder / name).exists():
                raise CorruptError(f"{source} holds {name} twice: unpack the one you mean")
            with archive.open(member) as packed, (folder / name).open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)


def _check_room(source: Path, archive: zipfile.ZipFile, folder: Path) -> None:
    """Refuse a zip that unpacks to more than its config asks for: weights, and the two averages
    that an optimizer has of them."""
    members = {PurePosixPath(member.filename).name: member for member in archive.infolist()}
    size = sum(m.file_size for name, m in members.items() if _belongs_to_model(name))
    config = next((members[name] for name in _CONFIG_NAMES if name in members), None)
    allowed = 2**26
    if config is not None and config.file_size < 2**20:
        (folder / "sizes").write_bytes(archive.read(config))
        c = BertConfig.from_json_file(folder / "sizes")
        (folder / "sizes").unlink()
        block = 4 * c.hidden_size**2 + 2 * c.hidden_size * c.intermediate_size
        table = c.vocab_size + c.max_position_embeddings + c.type_vocab_size + 3 * c.hidden_size
        numbers = c.num_hidden_layers * block + table * c.hidden_size
        allowed += 3 * 2 * 4 * numbers  # twice as many, for norms and biases
    if size > allowed:
        raise CorruptError(
            f"{source} would unpack to {size:,} bytes, and its config asks for {allowed:,} at "
            "most: it is not opened"
        )


def _belongs_to_model(name: str) -> bool:
    return name in (*_CONFIG_NAMES, *TOKENIZER_FILES) or (
        ".ckpt" in name and not name.endswith(".meta")
    )
