"""Conversion of a real TensorFlow checkpoint, against numbers read by an independent path."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from minibert.core.config import BertConfig
from minibert.tokenizer.files import read_tokenizer
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.weights.loading import hugging_face_state, load_weights, save_weights
from tests.conftest import ROOT, shared
from tests.parity.twins import TINY, trained_like, twin_of
from weights_tools.convert import convert, convert_to_tf, expected_shapes
from weights_tools.errors import CorruptError, WeightsError
from weights_tools.files.writing import Planned, write_tf_checkpoint
from weights_tools.names import tf_name_of
from weights_tools.tensorflow.checkpoint import TFCheckpoint

REAL = "tf_checkpoints/keras_bert_test_checkpoint"
DATA = "bert_model.ckpt.data-00000-of-00001"


def google_shapes(config: dict) -> dict[str, tuple[int, ...]]:
    """The variables of google-research/bert's run_pretraining.py, written down by hand."""
    H, wide = config["hidden_size"], config["intermediate_size"]
    shapes = {
        "bert/embeddings/word_embeddings": (config["vocab_size"], H),
        "bert/embeddings/position_embeddings": (config["max_position_embeddings"], H),
        "bert/embeddings/token_type_embeddings": (config["type_vocab_size"], H),
        "cls/predictions/output_bias": (config["vocab_size"],),
        "cls/seq_relationship/output_weights": (2, H),
        "cls/seq_relationship/output_bias": (2,),
    }
    dense = {"bert/pooler/dense": (H, H), "cls/predictions/transform/dense": (H, H)}
    norms = ["bert/embeddings/LayerNorm", "cls/predictions/transform/LayerNorm"]
    for layer in range(config["num_hidden_layers"]):
        block = f"bert/encoder/layer_{layer}"
        for name in ("self/query", "self/key", "self/value", "output/dense"):
            dense[f"{block}/attention/{name}"] = (H, H)
        dense[f"{block}/intermediate/dense"] = (H, wide)
        dense[f"{block}/output/dense"] = (wide, H)
        norms += [f"{block}/attention/output/LayerNorm", f"{block}/output/LayerNorm"]
    for name, (rows, columns) in dense.items():
        shapes |= {f"{name}/kernel": (rows, columns), f"{name}/bias": (columns,)}
    for name in norms:
        shapes |= {f"{name}/gamma": (H,), f"{name}/beta": (H,)}
    return shapes


def read_without_index(folder: Path) -> dict[str, np.ndarray]:
    """The data file alone: tensors lie back to back in the order of their names, each with its
    two Adam slots, and the step counter (8 bytes) at the end."""
    shapes = google_shapes(json.loads((folder / "bert_config.json").read_text()))
    names = [f"{name}{slot}" for name in shapes for slot in ("", "/adam_m", "/adam_v")]
    raw = (folder / DATA).read_bytes()
    values, at = {}, 0
    for name in sorted(names, key=str.encode):
        shape = shapes[name.removesuffix("/adam_m").removesuffix("/adam_v")]
        size = int(np.prod(shape))
        values[name] = np.frombuffer(raw, "<f4", size, at).reshape(shape)
        at += 4 * size
    assert raw[at:] == (20).to_bytes(8, "little")
    return values


def transformers_from_google(folder: Path) -> transformers.BertForPreTraining:
    """transformers' model filled by hand, by the place of each module, not by our name table."""
    values = read_without_index(folder)
    config = transformers.BertConfig(**json.loads((folder / "bert_config.json").read_text()))
    model = transformers.BertForPreTraining(config).eval()

    def dense(module, name):
        module.weight.data = torch.from_numpy(values[f"{name}/kernel"].T.copy())
        module.bias.data = torch.from_numpy(values[f"{name}/bias"].copy())

    def norm(module, name):
        module.weight.data = torch.from_numpy(values[f"{name}/gamma"].copy())
        module.bias.data = torch.from_numpy(values[f"{name}/beta"].copy())

    tables = model.bert.embeddings
    for module, name in (
        (tables.word_embeddings, "word"),
        (tables.position_embeddings, "position"),
        (tables.token_type_embeddings, "token_type"),
    ):
        module.weight.data = torch.from_numpy(values[f"bert/embeddings/{name}_embeddings"].copy())
    norm(tables.LayerNorm, "bert/embeddings/LayerNorm")
    for number, layer in enumerate(model.bert.encoder.layer):
        block = f"bert/encoder/layer_{number}"
        for part in ("query", "key", "value"):
            dense(getattr(layer.attention.self, part), f"{block}/attention/self/{part}")
        dense(layer.attention.output.dense, f"{block}/attention/output/dense")
        norm(layer.attention.output.LayerNorm, f"{block}/attention/output/LayerNorm")
        dense(layer.intermediate.dense, f"{block}/intermediate/dense")
        dense(layer.output.dense, f"{block}/output/dense")
        norm(layer.output.LayerNorm, f"{block}/output/LayerNorm")
    dense(model.bert.pooler.dense, "bert/pooler/dense")
    dense(model.cls.predictions.transform.dense, "cls/predictions/transform/dense")
    norm(model.cls.predictions.transform.LayerNorm, "cls/predictions/transform/LayerNorm")
    decoder = model.cls.predictions.decoder
    decoder.weight.data = tables.word_embeddings.weight.data
    for bias in (model.cls.predictions, decoder):
        bias.bias.data = torch.from_numpy(values["cls/predictions/output_bias"].copy())
    pair = model.cls.seq_relationship
    pair.weight.data = torch.from_numpy(values["cls/seq_relationship/output_weights"].copy())
    pair.bias.data = torch.from_numpy(values["cls/seq_relationship/output_bias"].copy())
    return model


@pytest.fixture
def google(tmp_path) -> Path:
    """A writable copy of the real checkpoint, in a folder whose name says it is uncased."""
    folder = tmp_path / "uncased_L-2_H-4_A-4"
    shutil.copytree(shared(REAL), folder)
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
    return folder


def test_logits_equal_those_of_transformers_filled_by_hand(google, tmp_path):
    report = convert(google, tmp_path / "out")
    ours, load_report = load_weights(tmp_path / "out")
    reference = transformers_from_google(google)
    batch = {
        "input_ids": torch.tensor([[2, 5, 6, 4, 8, 3, 9, 10, 3], [2, 11, 12, 3, 0, 0, 0, 0, 0]]),
        "attention_mask": torch.tensor([[1] * 9, [1] * 4 + [0] * 5]),
        "token_type_ids": torch.tensor([[0] * 6 + [1] * 3, [0] * 9]),
    }
    with torch.no_grad():
        got, expected = ours(**batch), reference(**batch)
    assert not load_report.missing and report.tensors == 46
    assert torch.allclose(got.prediction_logits[0], expected.prediction_logits[0], atol=1e-6)
    assert torch.allclose(
        got.prediction_logits[1, :4], expected.prediction_logits[1, :4], atol=1e-6
    )
    assert torch.allclose(got.seq_relationship_logits, expected.seq_relationship_logits, atol=1e-6)
    assert expected.seq_relationship_logits.abs().max() > 1e-3  # the head is not all zeros


def test_what_is_ignored_is_listed(google, tmp_path):
    report = convert(google, tmp_path / "out")
    assert len(report.ignored) == 93
    assert list(report.ignored.values()).count("optimizer slot") == 92
    assert report.ignored["global_step"] == "step counter"
    assert "92 x optimizer slot" in str(report)


def test_transformers_and_sentence_transformers_load_the_folder(google, tmp_path):
    from sentence_transformers import SentenceTransformer

    folder = tmp_path / "out"
    convert(google, folder)
    model, problems = transformers.BertForPreTraining.from_pretrained(
        folder, output_loading_info=True
    )
    assert not problems["missing_keys"] and not problems["unexpected_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert tokenizer("All WORK").input_ids == [2, 5, 6, 3]
    vectors = SentenceTransformer(str(folder), device="cpu").encode(["all work"])
    inner = model.bert(torch.tensor([[2, 5, 6, 3]])).last_hidden_state.mean(dim=1)
    assert np.allclose(vectors, inner.detach().numpy(), atol=1e-6)


def test_case_is_taken_from_the_name_or_asked_for(google, tmp_path):
    def lowercase(source, **how):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        convert(source, tmp_path / "out", **how)
        return json.loads((tmp_path / "out/tokenizer_config.json").read_text())["do_lower_case"]

    assert lowercase(google) is True
    assert lowercase(google / "bert_model.ckpt") is True
    assert lowercase(google, lowercase=False) is False
    cased = google.rename(tmp_path / "cased_L-2")
    assert lowercase(cased) is False
    nameless = cased.rename(tmp_path / "model")
    with pytest.raises(WeightsError, match="--uncased or --cased"):
        lowercase(nameless)
    assert not (tmp_path / "out").exists()
    (nameless / "vocab.txt").unlink()
    assert "no tokenizer" in str(convert(nameless, tmp_path / "out"))


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "für", "fur", "mehr", "人", "口", "人口"]
ADDED = {"id": 11, "content": "<zahl>", "special": True}
TOKENIZERS = {
    "vocab.txt and its settings": {
        "vocab.txt": "\n".join(WORDS),
        "tokenizer_config.json": {
            "do_lower_case": True,
            "strip_accents": False,
            "tokenize_chinese_chars": False,
            "added_tokens_decoder": {"11": {"content": "<zahl>", "special": True}},
        },
    },
    "tokenizer.json alone": {
        "tokenizer.json": {
            "version": "1.0",
            "added_tokens": [
                dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False) | ADDED
            ],
            "normalizer": {
                "type": "BertNormalizer",
                "clean_text": True,
                "lowercase": True,
                "strip_accents": False,
                "handle_chinese_chars": False,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "model": {
                "type": "WordPiece",
                "unk_token": "[UNK]",
                "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100,
                "vocab": {word: number for number, word in enumerate(WORDS)},
            },
        },
    },
}


@pytest.mark.parametrize("files", TOKENIZERS.values(), ids=TOKENIZERS)
def test_the_tokenizer_of_a_hugging_face_folder_gives_the_same_ids(files, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    save_weights(trained_like().float(), source)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (source / name).write_text(text, encoding="utf-8")
    report = convert(source, tmp_path / "out")
    assert set(files) | {"tokenizer_config.json"} <= set(report.files)
    text, theirs = "Für mehr <zahl> 人口", []
    for folder in (source, tmp_path / "out"):
        assert Tokenizer(**read_tokenizer(folder)).ids(text) == [5, 7, 11, 10]
        theirs.append(transformers.AutoTokenizer.from_pretrained(folder)(text).input_ids)
    assert theirs[0] == theirs[1]  # not the same as ours for a tokenizer.json without settings


def test_googles_zip(google, tmp_path):
    archive = tmp_path / "uncased_L-2_H-4_A-4.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in google.iterdir():
            packed.write(file, f"uncased_L-2_H-4_A-4/{file.name}")
        packed.writestr("../../escape/vocab.txt.exe", "no")
    convert(google, tmp_path / "plain")
    convert(archive, tmp_path / "zipped")
    for file in (tmp_path / "plain").iterdir():
        assert (tmp_path / "zipped" / file.name).read_bytes() == file.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["plain", "zipped", archive.name, google.name]
    )
    raw = archive.read_bytes()
    for broken in (raw[:2000], raw[:300] + b"\xff" * 50 + raw[350:]):
        archive.write_bytes(broken)
        with pytest.raises(CorruptError):
            convert(archive, tmp_path / "broken")
        assert not (tmp_path / "broken").exists()


def test_legacy_pytorch_names(tmp_path):
    """A .bin with gamma, beta, the tied decoder and the buffer of old versions."""
    model = trained_like().float()
    state = hugging_face_state(model)
    old = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for key, value in state.items()
    }
    old["cls.predictions.decoder.weight"] = old["bert.embeddings.word_embeddings.weight"]
    old["bert.embeddings.position_ids"] = torch.arange(16)[None]
    source = tmp_path / "old"
    source.mkdir()
    torch.save(old, source / "pytorch_model.bin")
    (source / "config.json").write_text(json.dumps(TINY.to_dict()))
    report = convert(source, tmp_path / "new")
    written = safetensors.torch.load_file(tmp_path / "new/model.safetensors")
    assert set(written) == set(state)
    assert all(torch.equal(written[key], state[key]) for key in state)
    assert set(report.ignored) == {"cls.predictions.decoder.weight", "bert.embeddings.position_ids"}


def test_a_tied_copy_must_be_one(tmp_path):
    """An untied decoder cannot be left out; a bias under the copy's name alone is still read."""
    state = hugging_face_state(trained_like().float())
    tied, bias = "cls.predictions.decoder.weight", "cls.predictions.bias"
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_dict()))
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(
        {**state, tied: state["bert.embeddings.word_embeddings.weight"] + 1}, path
    )
    with pytest.raises(WeightsError, match="one tensor .tied."):
        convert(tmp_path, tmp_path / "out")
    renamed = {k.replace(bias, "cls.predictions.decoder.bias"): v for k, v in state.items()}
    safetensors.torch.save_file(renamed, path)
    convert(tmp_path, tmp_path / "out")
    written = safetensors.torch.load_file(tmp_path / "out/model.safetensors")
    assert torch.equal(written[bias], state[bias])


def test_back_to_tensorflow_gives_googles_own_checksums(google, tmp_path):
    """TensorFlow computed the checksums of the real index; ours of the same tensors must agree."""
    convert(google, tmp_path / "hf")
    convert_to_tf(tmp_path / "hf", tmp_path / "uncased_tf")
    again, real = TFCheckpoint(tmp_path / "uncased_tf"), TFCheckpoint(google)
    assert again.verify() == 701 * 4
    assert len(again.entries) == 46
    for name, entry in again.entries.items():
        known = real.entries[name]
        assert (entry.crc, entry.shape, entry.dtype) == (known.crc, known.shape, known.dtype)
    convert(tmp_path / "uncased_tf", tmp_path / "hf2")
    first, second = tmp_path / "hf/model.safetensors", tmp_path / "hf2/model.safetensors"
    assert first.read_bytes() == second.read_bytes()


def test_models_without_some_heads(tmp_path):
    model = trained_like().float()
    reference = twin_of(model)
    ids = torch.tensor([[2, 7, 5, 3]])
    for name, keep in (("BertModel", ()), ("BertForMaskedLM", ("masked_word",))):
        model.masked_word = model.masked_word if "masked_word" in keep else None
        model.next_sentence = None
        source = tmp_path / f"source-{name}"
        source.mkdir()
        save_weights(model, source)
        convert(source, tmp_path / name)
        assert json.loads((tmp_path / name / "config.json").read_text())["architectures"] == [name]
        loaded, problems = getattr(transformers, name).from_pretrained(
            tmp_path / name, output_loading_info=True
        )
        assert all("pooler" in key for key in problems["unexpected_keys"])
        with torch.no_grad():
            encoder = loaded if name == "BertModel" else loaded.bert
            got, expected = encoder(ids)[0], reference.bert(ids)[0]
        assert torch.allclose(got, expected, atol=1e-5)
        model = trained_like().float()


def test_a_fine_tuned_classifier(google, tmp_path):
    """run_classifier.py adds output_weights and output_bias, without the pretraining heads."""
    checkpoint = TFCheckpoint(google)
    planned = [
        Planned(name, entry.shape, lambda name=name: checkpoint.read(name))
        for name, entry in checkpoint.entries.items()
        if name.startswith("bert/") and "adam" not in name
    ]
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    planned += [
        Planned("output_weights", (3, 4), lambda: weights),
        Planned("output_bias", (3,), lambda: np.ones(3)),
    ]
    tuned = tmp_path / "uncased_tuned"
    tuned.mkdir()
    write_tf_checkpoint(tuned / "model.ckpt-343", planned)
    for name in ("bert_config.json", "vocab.txt"):
        shutil.copy(google / name, tuned / name)
    convert(tuned, tmp_path / "out")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "out")
    assert model.config.num_labels == 3
    assert np.array_equal(model.classifier.weight.detach().numpy(), weights)


def change_config(folder: Path, **changes) -> None:
    path = folder / "bert_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": 8}, r"word_embeddings has shape \(15, 4\).*asks for \(15, 8\)|has shape"),
        ({"num_hidden_layers": 3}, "lacks bert.encoder.layer.2"),
        ({"num_hidden_layers": 1}, "bert.encoder.layer.1.*no place"),
        ({"intermediate_size": 32}, r"intermediate/dense/.*the config asks for"),
        ({"vocab_size": 14}, "has shape|has 15 words"),
    ],
)
def test_a_config_of_another_model(google, tmp_path, changes, message):
    change_config(google, **changes)
    with pytest.raises(ValueError, match=message):
        convert(google, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [google.name]


def test_other_architectures_and_half_heads(google, tmp_path):
    checkpoint = TFCheckpoint(google)

    def write(names: dict[str, str]) -> Path:
        planned = [
            Planned(new, checkpoint.entries[old].shape, lambda old=old: checkpoint.read(old))
            for new, old in names.items()
        ]
        write_tf_checkpoint(google / "bert_model.ckpt", planned)
        return google

    names = {name: name for name in checkpoint.entries if "adam" not in name and "step" not in name}
    half = {k: v for k, v in names.items() if k != "cls/seq_relationship/output_bias"}
    keras = {f"{k}/.ATTRIBUTES/VARIABLE_VALUE": v for k, v in names.items()}
    other = {k.replace("self/query", "self/q"): v for k, v in names.items()}
    shutil.copytree(google, tmp_path / "copy")
    checkpoint = TFCheckpoint(tmp_path / "copy")
    for changed, message in (
        (half, "lacks cls.seq_relationship.bias"),
        (keras, "object-graph"),
        (other, "names that are not BERT's.*self/q"),
    ):
        with pytest.raises(WeightsError, match=message):
            convert(write(changed), tmp_path / "out")


def test_nothing_is_left_behind_by_damage_in_the_last_tensor(google, tmp_path):
    raw = bytearray((google / DATA).read_bytes())
    offset = TFCheckpoint(google).entries["cls/seq_relationship/output_weights"].offset
    raw[offset] ^= 1
    (google / DATA).write_bytes(raw)
    with pytest.raises(CorruptError, match="cls/seq_relationship/output_weights"):
        convert(google, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == [google.name]


def test_an_existing_folder_is_not_touched(google, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="choose a new name"):
        convert(google, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


def test_a_vocabulary_of_another_model(google, tmp_path):
    (google / "vocab.txt").write_text("word\n" * 16)
    with pytest.raises(WeightsError, match="16 words, the model 15"):
        convert(google, tmp_path / "out")
    (google / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(CorruptError, match="not UTF-8"):
        convert(google, tmp_path / "out")


def test_expected_shapes_are_those_of_transformers():
    with torch.device("meta"):
        model = transformers.BertForPreTraining(transformers.BertConfig(**TINY.to_dict()))
    theirs = {
        key: tuple(tensor.shape)
        for key, tensor in model.state_dict().items()
        if not key.startswith("cls.predictions.decoder")
    }
    assert expected_shapes(TINY) == theirs


MEASURE = """
import sys, resource
sys.path.insert(0, {root!r})
from weights_tools.convert import convert
convert({source!r}, {target!r})
status = open("/proc/self/status").read()
print(status.split("VmHWM:")[1].split()[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_a_checkpoint_of_full_base_size_within_its_own_memory(tmp_path):
    """440 MB, written here in the same format; the peak of the whole process stays below 1.2
    times its size, and the numbers arrive."""
    source = tmp_path / "uncased_base"
    source.mkdir()
    random = np.random.default_rng(0)
    planned = []
    for key, shape in expected_shapes(BertConfig()).items():
        name, transposed = tf_name_of(key)
        shape = shape[::-1] if transposed else shape
        planned.append(
            Planned(name, shape, lambda shape=shape: random.standard_normal(shape, np.float32))
        )
    write_tf_checkpoint(source / "bert_model.ckpt", planned)
    (source / "bert_config.json").write_text(json.dumps(BertConfig().to_dict()))
    code = MEASURE.format(root=str(ROOT), source=str(source), target=str(tmp_path / "out"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size = (source / DATA).stat().st_size
    assert size == 440_425_712
    assert int(done.stdout) * 1024 < 1.2 * size
    written = safetensors.torch.load_file(tmp_path / "out/model.safetensors")
    key = "bert.encoder.layer.7.intermediate.dense.weight"
    kernel = TFCheckpoint(source).read(tf_name_of(key)[0])
    assert np.array_equal(written[key].numpy(), kernel.T)
    assert sum(tensor.numel() for name, tensor in written.items() if name.startswith("bert.")) == (
        109_482_240
    )
