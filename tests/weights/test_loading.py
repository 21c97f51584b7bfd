"""Loading and saving: every spelling of a weights file, every way in which one can be wrong."""

import json
import pickle
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from minibert.weights.loading import hugging_face_state, load_weights, save_weights
from minibert.weights.names import NAME_TABLE, name_table
from tests.parity.twins import TINY, tiny_batch, trained_like, twin_of


@pytest.fixture(scope="module")
def state():
    """A file's content: all 206-style keys, under Hugging Face's names, float32."""
    return {key: t.float() for key, t in hugging_face_state(trained_like()).items()}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(TINY.to_dict()))
    return tmp_path


def write(folder: Path, state: dict, name: str = "model.safetensors") -> Path:
    if name.endswith(".bin"):
        torch.save(state, folder / name)
    else:
        save_file({key: t.clone() for key, t in state.items()}, folder / name)
    return folder


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(**tiny_batch()).prediction_logits


def old_names(state: dict) -> dict:
    return {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): t
        for key, t in state.items()
    }


SPELLINGS = {
    "as transformers writes it": lambda s: s,
    "gamma and beta": old_names,
    "saved from DataParallel": lambda s: {f"module.{key}": t for key, t in s.items()},
    "compiled": lambda s: {f"_orig_mod.{key}": t for key, t in s.items()},
    "compiled and parallel": lambda s: {f"_orig_mod.module.{key}": t for key, t in s.items()},
    "an attribute of a trainer": lambda s: {f"model.{key}": t for key, t in s.items()},
    "sentence-transformers": lambda s: {
        f"0.auto_model.{key.removeprefix('bert.')}": t for key, t in s.items()
    },
    "bert in bert": lambda s: {f"bert.{key}": t for key, t in s.items()},
    "heads beside": lambda s: {
        f"model.{key}" if key.startswith("bert.") else key: t for key, t in s.items()
    },
    "with constants": lambda s: {**s, "bert.embeddings.position_ids": torch.arange(16)[None]},
    "with the tied decoder": lambda s: {
        **s,
        "cls.predictions.decoder.weight": s["bert.embeddings.word_embeddings.weight"],
        "cls.predictions.decoder.bias": s["cls.predictions.bias"],
    },
    "decoder bias under its other name": lambda s: {
        key.replace("cls.predictions.bias", "cls.predictions.decoder.bias"): t
        for key, t in s.items()
    },
    "with a classifier": lambda s: {**s, "classifier.weight": torch.zeros(2, 20)},
}


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling(folder, state, spelling, name):
    model, report = load_weights(write(folder, SPELLINGS[spelling](state), name))
    assert torch.equal(logits(model), logits(trained_like().float()))
    assert not report.missing
    keys = set(SPELLINGS[spelling](state))
    assert set(report.mapped) | set(report.ignored) == keys
    assert sorted(report.mapped.values()) == sorted(name_table(TINY).values())
    assert all(report.ignored.values())


@pytest.mark.parametrize("legacy", [True, False])
def test_bin_of_both_formats(folder, state, legacy):
    torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
    assert zipfile.is_zipfile(folder / "pytorch_model.bin") is not legacy
    model, _ = load_weights(folder)
    assert torch.equal(logits(model), logits(trained_like().float()))


def test_encoder_alone_without_prefix(folder, state):
    """As sentence-transformers ships it: no `bert.`, no heads."""
    encoder = {k.removeprefix("bert."): t for k, t in state.items() if k.startswith("bert.")}
    model, report = load_weights(write(folder, encoder))
    assert model.masked_word is None and model.next_sentence is None
    assert len(report.missing) == 2 and "fill-mask is not available" in report.missing[0]
    expected = trained_like().float().bert(**tiny_batch()).pooler_output
    assert torch.equal(model.bert(**tiny_batch()).pooler_output, expected)


def test_without_pooler(folder, state):
    """As BertForMaskedLM: words, no pooler, no pair. What is missing is None, not random."""
    kept = {k: t for k, t in state.items() if "pooler" not in k and "seq_relationship" not in k}
    model, report = load_weights(write(folder, kept))
    output = model.bert(**tiny_batch())
    assert model.bert.pooler is None and output.pooler_output is None
    assert "pooler_output is not available" in str(report)
    assert torch.equal(logits(model), logits(trained_like().float()))


def test_shards(folder, state):
    keys = list(state)
    halves = {"model-1.safetensors": keys[::2], "model-2.safetensors": keys[1::2]}
    for name, part in halves.items():
        save_file({key: state[key].clone() for key in part}, folder / name)
    index = {"weight_map": {key: name for name, part in halves.items() for key in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    model, report = load_weights(folder)
    assert torch.equal(logits(model), logits(trained_like().float()))
    assert report.files == ("model-1.safetensors", "model-2.safetensors")
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="names the shard model-2.safetensors"):
        load_weights(folder)
    for name in ("../model.safetensors", "/etc/passwd", ".hidden"):
        (folder / "model.safetensors.index.json").write_text(
            json.dumps({"weight_map": {"a": name}})
        )
        with pytest.raises(ValueError, match="only files beside it"):
            load_weights(folder)


def test_overlapping_shards(folder, state):
    for name in ("a.safetensors", "b.safetensors"):
        write(folder, state, name)
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="overlap"):
        load_weights(folder)


WRONG = {
    "a tensor is missing": (
        lambda s: {k: t for k, t in s.items() if "layer.1.output.dense.bias" not in k},
        "lacks 1 of 62 tensors.*encoder.blocks.1.feed_forward.down.bias",
    ),
    "half a head": (
        lambda s: {k: t for k, t in s.items() if k != "cls.predictions.transform.dense.bias"},
        "lacks 1 of .*masked_word.transform.bias",
    ),
    "a pair head without pooler": (
        lambda s: {k: t for k, t in s.items() if "pooler" not in k},
        "no pooler",
    ),
    "a wrong shape": (
        lambda s: {**s, "bert.pooler.dense.weight": torch.zeros(20, 21)},
        r"bert.pooler.dense.weight has the shape \(20, 21\), config.json asks for \(20, 20\)",
    ),
    "one block more": (
        lambda s: {**s, "bert.encoder.layer.3.output.dense.bias": torch.zeros(20)},
        "no place in this BERT of 3 blocks",
    ),
    "another architecture": (
        lambda s: {**s, "bert.embeddings.distance_embedding.weight": torch.zeros(3)},
        "no place in this BERT",
    ),
    "both names of one tensor": (
        lambda s: {**s, "bert.embeddings.LayerNorm.gamma": torch.ones(20)},
        "two keys of the file fill embeddings.norm.weight",
    ),
    "an untied decoder": (
        lambda s: {**s, "cls.predictions.decoder.weight": torch.zeros(61, 20)},
        "differs from embeddings.word_embeddings.weight",
    ),
    "a second bias": (
        lambda s: {**s, "cls.predictions.decoder.bias": torch.zeros(61)},
        "differs from cls.predictions.bias",
    ),
    "whole numbers": (
        lambda s: {**s, "bert.pooler.dense.bias": torch.zeros(20, dtype=torch.int64)},
        "expected floating-point",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_files_that_do_not_fit(folder, state, wrong):
    change, words = WRONG[wrong]
    with pytest.raises(ValueError, match=words):
        load_weights(write(folder, change(state)))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("size", [0, 1, 7, 100, 0.5, -1])
def test_truncated(folder, state, name, size):
    path = write(folder, state, name) / name
    content = path.read_bytes()
    path.write_bytes(content[: int(size * len(content)) if isinstance(size, float) else size])
    with pytest.raises(ValueError, match=f"{name}.*(damaged|not opened)"):
        load_weights(folder)


def test_damaged_header(folder, state):
    path = write(folder, state) / "model.safetensors"
    content = bytearray(path.read_bytes())
    for header in (2**62, 2**31, 5):
        content[:8] = header.to_bytes(8, "little")
        path.write_bytes(content)
        with pytest.raises(ValueError, match="damaged"):
            load_weights(folder)


class Exploit:
    def __reduce__(self):
        return (Path("EXPLOITED").touch, ())


def test_pickled_code_is_not_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for write_file in (
        lambda path: path.write_bytes(pickle.dumps({"a": Exploit()})),
        lambda path: torch.save({"a": Exploit()}, path),
    ):
        write_file(folder / "pytorch_model.bin")
        with pytest.raises(ValueError, match="pickled code"):
            load_weights(folder)
    assert not (folder / "EXPLOITED").exists()


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(2)])
def test_a_bin_that_holds_no_weights(folder, content):
    torch.save(content, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="not a weights file"):
        load_weights(folder)


def test_absent_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights in"):
        load_weights(tmp_path)
    (tmp_path / "bert_model.ckpt.index").touch()
    with pytest.raises(FileNotFoundError, match="weights_tools convert"):
        load_weights(tmp_path)
    write(tmp_path, {"a": torch.zeros(2)})
    with pytest.raises(FileNotFoundError, match="no config.json"):
        load_weights(tmp_path)
    for name in ("bert_model.ckpt", "bert_model.ckpt.index"):  # never the file beside it
        with pytest.raises(FileNotFoundError, match=f"convert {tmp_path} NEW_FOLDER"):
            load_weights(tmp_path / name)


def test_checkpoints_of_a_training_run(tmp_path):
    """TensorFlow's Estimator leaves model.ckpt-343.*, and several of them."""
    for step, words in (
        (343, f"convert {tmp_path} NEW"),
        (1200, f"convert {tmp_path}/model.ckpt-1200 "),
    ):
        for ending in ("index", "meta", "data-00000-of-00001"):
            (tmp_path / f"model.ckpt-{step}.{ending}").touch()
        with pytest.raises(FileNotFoundError, match=words):
            load_weights(tmp_path)
    for name in ("model.ckpt-343", "model.ckpt-343.index", "model.ckpt-343.data-00000-of-00001"):
        with pytest.raises(FileNotFoundError, match=f"convert {tmp_path}/model.ckpt-343 NEW"):
            load_weights(tmp_path / name)


def test_the_files_of_other_frameworks_are_named(tmp_path):
    (tmp_path / "tf_model.h5").touch()
    with pytest.raises(FileNotFoundError, match="expected model.safetensors .* got tf_model.h5"):
        load_weights(tmp_path)


@pytest.mark.parametrize("prefix", ["roberta.", "student.encoder.", "x.bert."])
def test_keys_of_another_module_are_refused_by_their_prefix(folder, state, prefix):
    """Not loaded: RoBERTa's keys are BERT's but for the prefix, its positions are not."""
    keys = {prefix + key.removeprefix("bert."): tensor for key, tensor in state.items()}
    with pytest.raises(ValueError, match=f"another architecture, or .* take '{prefix}' from"):
        load_weights(write(folder, keys))


def test_config_of_another_file(folder, state):
    (folder / "config.json").write_text(json.dumps({**TINY.to_dict(), "vocab_size": 62}))
    with pytest.raises(ValueError, match="the two do not belong together"):
        load_weights(write(folder, state))


def test_loading_takes_no_second_copy(folder):
    """The parameters lie in the mapped file: the process does not hold their bytes itself."""
    big = {**TINY.to_dict(), "vocab_size": 400_000}
    (folder / "config.json").write_text(json.dumps(big))
    tiny = hugging_face_state(trained_like().float())
    tiny["bert.embeddings.word_embeddings.weight"] = torch.ones(400_000, 20)  # 32 MB
    tiny["cls.predictions.bias"] = torch.zeros(400_000)
    write(folder, tiny)
    del tiny
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("no /proc on this system to read the memory from")

    def anonymous_kb() -> int:
        line = next(x for x in status.read_text().splitlines() if x.startswith("RssAnon"))
        return int(line.split()[1])

    before = anonymous_kb()
    model, _ = load_weights(folder)
    float(model.bert.embeddings.token.weight.sum())
    assert anonymous_kb() - before < 8_000, "kB held beyond the mapped file"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(folder, state, dtype):
    write(folder, {key: t.to(dtype) for key, t in state.items()})
    model, report = load_weights(folder)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert report.dtype == str(dtype).removeprefix("torch.")
    kept, _ = load_weights(folder, dtype=None)
    assert {p.dtype for p in kept.parameters()} == {dtype}


@pytest.mark.parametrize("parts", ["all", "words", "encoder"])
def test_transformers_loads_what_was_saved(tmp_path, state, parts, folder):
    keep = {
        "all": lambda key: True,
        "words": lambda key: "pooler" not in key and "seq_rel" not in key,
        "encoder": lambda key: key.startswith("bert."),
    }[parts]
    model, _ = load_weights(write(folder, {k: t for k, t in state.items() if keep(k)}))
    saved = tmp_path / "saved"
    saved.mkdir()
    save_weights(model, saved)
    config = transformers.AutoConfig.from_pretrained(saved)
    kind = getattr(transformers, config.architectures[0])
    twin, info = kind.from_pretrained(saved, attn_implementation="eager", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    batch = tiny_batch()
    with torch.no_grad():
        theirs = twin.eval()(**batch)
        if parts == "encoder":
            ours = model.bert(**batch, output_attentions=True)
            assert torch.equal(ours.last_hidden_state, theirs.last_hidden_state)
            assert torch.equal(ours.pooler_output, theirs.pooler_output)
        else:
            ours = model(**batch, output_attentions=True)
            words = theirs.prediction_logits if parts == "all" else theirs.logits
            assert torch.equal(ours.prediction_logits, words)
    again, _ = load_weights(saved)
    for (name, a), (_, b) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(a, b), name


def test_we_load_what_transformers_saves(tmp_path):
    model = trained_like().float()
    twin_of(model).save_pretrained(tmp_path)
    loaded, report = load_weights(tmp_path)
    assert not report.missing
    assert torch.equal(logits(loaded), logits(model))


def test_the_table_is_aligned_and_whole():
    rows = [line for line in NAME_TABLE.splitlines() if line.strip()]
    starts = {len(row) - len(row.split(None, 1)[1]) for row in rows}
    assert len(starts) == 1, "the second column is not aligned"
    model = trained_like()
    ours = {name.removeprefix("bert.") for name, _ in model.named_parameters()}
    assert set(name_table(TINY).values()) == ours
    theirs = {name.removeprefix("bert.") for name, _ in twin_of(model).named_parameters()}
    assert set(name_table(TINY)) == theirs


def test_saving_over_the_file_it_came_from(folder, state):
    """The tensors are mapped from the very file that is replaced."""
    model, _ = load_weights(write(folder, state))
    before = logits(model)
    copy = folder / "copy"
    copy.mkdir()
    save_weights(model, copy)
    shutil.move(copy / "model.safetensors", folder / "model.safetensors")
    assert torch.equal(logits(model), before)
    assert set(load_file(folder / "model.safetensors")) == set(state)


@pytest.mark.parametrize("given", ["float16", "torch.float16", torch.float16])
def test_a_dtype_by_its_name(folder, state, given):
    write(folder, state)
    model, _ = load_weights(folder, given)
    assert {p.dtype for p in model.parameters()} == {torch.float16}
    theirs = transformers.BertModel.from_pretrained(folder, dtype="float16")
    ours = model.bert.embeddings.token.weight
    assert torch.equal(ours, theirs.embeddings.word_embeddings.weight)


def test_dtype_auto_is_that_of_the_file(folder, state):
    write(folder, {key: tensor.bfloat16() for key, tensor in state.items()})
    for given in ("auto", None):
        model, _ = load_weights(folder, given)
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


@pytest.mark.parametrize("given", ["float17", "int8", torch.int64, "Tensor", 16, "cuda", ""])
def test_what_is_no_dtype(folder, state, given):
    write(folder, state)
    with pytest.raises(ValueError, match='floating-point type .*"float16"'):
        load_weights(folder, given)


def test_the_first_blocks_of_a_longer_file(folder, state):
    """Only where it is asked for; then as transformers does, pooler and heads included."""
    write(folder, state)
    model, report = load_weights(folder, num_hidden_layers=2)
    twin = transformers.BertForPreTraining.from_pretrained(folder, num_hidden_layers=2).eval()
    batch = tiny_batch()
    with torch.no_grad():
        ours, theirs = model(**batch), twin(**batch)
    assert torch.allclose(ours.prediction_logits, theirs.prediction_logits, atol=1e-4)
    assert torch.allclose(ours.seq_relationship_logits, theirs.seq_relationship_logits, atol=1e-5)
    reasons = [why for key, why in report.ignored.items() if ".layer.2." in key]
    assert len(reasons) == 16 and set(reasons) == {"num_hidden_layers=2 was asked for"}
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 2}))
    with pytest.raises(ValueError, match=r"first blocks alone: load\(..., num_hidden_layers=2\)"):
        load_weights(folder)
    assert torch.equal(load_weights(folder, num_hidden_layers=2)[0].bert.pooler.dense.weight,
                       model.bert.pooler.dense.weight)  # fmt: skip
    for wrong, words in ((4, "lacks"), (0, "num_hidden_layers must be"), (-1, "must be")):
        with pytest.raises(ValueError, match=words):
            load_weights(folder, num_hidden_layers=wrong)
