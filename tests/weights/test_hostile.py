"""Files of a stranger: nothing outside their folder, nothing without bound, no raw exception."""

import json
import os
import pickle
import re
import time
import zipfile

import pytest
import torch

import minibert
from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.corpus import split_sentences
from minibert.view import svg
from minibert.view.picture import Picture
from minibert.weights.hub_errors import HubError
from minibert.weights.loading import load_weights, save_weights
from tests.parity.twins import TINY, trained_like
from tests.test_bert import WORDS
from weights_tools.convert import convert
from weights_tools.errors import WeightsError


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    save_weights(trained_like().float(), path)
    (path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return path


@pytest.mark.parametrize("path", ["../out", "/etc", "..", "a/../../out", "", None, 3, "a\0b", []])
@pytest.mark.parametrize("kind", ["Pooling", "Transformer"])
def test_modules_lead_nowhere_else(folder, path, kind):
    if kind == "Transformer" and not path:
        return  # the folder itself
    (folder.parent / "out").mkdir()
    (folder.parent / "out" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    module = {"type": f"sentence_transformers.models.{kind}", "path": path}
    (folder / "modules.json").write_text(json.dumps([module]))
    with pytest.raises(ValueError, match="modules.json names .*: expected the name"):
        minibert.load(folder)


@pytest.mark.parametrize(
    "file, content",
    [
        ("modules.json", [1]),
        ("modules.json", {"type": "Transformer"}),
        ("sentence_bert_config.json", {"max_seq_length": "128"}),
        ("sentence_bert_config.json", {"max_seq_length": 12.5}),
        ("sentence_bert_config.json", {"do_lower_case": "false"}),
        ("sentence_bert_config.json", [1]),
        ("config_sentence_transformers.json", {"prompts": ["query"]}),
        ("config_sentence_transformers.json", {"prompts": {"query": 3}}),
        ("config_sentence_transformers.json", {"truncate_dim": "8"}),
        ("1_Pooling/config.json", {"pooling_mode_cls_token": "false"}),
        ("1_Pooling/config.json", {"pooling_mode": 3}),
        ("1_Pooling/config.json", {"pooling_mode": [["cls"]]}),
        ("config.json", {**TINY.to_dict(), "num_hidden_layers": 20_000}),
        ("config.json", {**TINY.to_dict(), "hidden_size": "20"}),
        ("tokenizer_config.json", {"do_lower_case": "false"}),
    ],
)
def test_settings_of_another_kind(folder, file, content):
    """The sentence names the file, or the two that do not belong together."""
    modules = [{"type": f"sentence_transformers.models.{k}"} for k in ("Transformer", "Pooling")]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / file).write_text(json.dumps(content))
    start = time.monotonic()
    with pytest.raises(ValueError, match=f"{re.escape(file)}|this folder pools by"):
        minibert.load(folder)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"hidden_size": ' + "9" * 5000 + "}", "\ufffd"]
)
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "modules.json"])
def test_json_that_no_reader_takes(folder, file, content):
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=file):
        minibert.load(folder)


def test_numbers_that_are_none_are_told(folder):
    model = trained_like().float()
    model.bert.encoder.blocks[1].output_norm.weight.data[3] = torch.nan
    save_weights(model, folder)
    with pytest.warns(UserWarning, match="NaN or infinite in 1 tensors, first .*output_norm"):
        minibert.load(folder)
    model.bert.encoder.blocks[1].output_norm.weight.data[3] = 3e38  # large, and a number
    model.bert.embeddings.norm.weight.data[:] = 3e38
    save_weights(model, folder)
    minibert.load(folder)  # warnings are errors here


@pytest.mark.parametrize("odd", ["sparse", "meta", "quantized", "name"])
def test_odd_tensors(folder, odd):
    (folder / "model.safetensors").unlink()
    table = torch.eye(4)
    tensor = {
        "sparse": table.to_sparse(),
        "meta": table.to("meta"),
        "quantized": torch.quantize_per_tensor(table, 0.1, 0, torch.qint8),
        "name": table,
    }[odd]
    name = 3 if odd == "name" else "embeddings.word_embeddings.weight"
    torch.save({name: tensor}, folder / "pytorch_model.bin")
    with pytest.raises(
        ValueError, match="pytorch_model.bin.*(no plain numbers|no.* a weights file)"
    ):
        load_weights(folder)


@pytest.mark.skipif(os.name == "nt", reason="paths are Unicode there")
def test_a_path_that_is_not_utf8(folder):
    other = os.fsdecode(os.fsencode(folder) + b"\xff")
    folder.rename(other)
    with pytest.raises(ValueError, match="is no path in UTF-8.*: rename the folder"):
        load_weights(other)


def test_labels_are_whole_numbers():
    model, ids = BertForPreTraining(BertModel(TINY)), torch.tensor([[2, 5, 3]])
    for dtype in (torch.int32, torch.float32, torch.uint8):
        with pytest.raises(TypeError, match="must be whole numbers .torch.int64., got torch"):
            model(ids, labels=ids.to(dtype))


def test_a_zip_that_unpacks_to_more_than_its_config(tmp_path):
    packed = tmp_path / "uncased.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bert_config.json", json.dumps(TINY.to_dict()))
        with archive.open("bert_model.ckpt.data-00000-of-00001", "w") as file:
            for _ in range(80):
                file.write(bytes(2**20))
    with pytest.raises(
        WeightsError, match="would unpack to 83,8.*its config asks for 67,.* at most"
    ):
        convert(packed, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["uncased.zip"]


def test_more_blocks_than_the_file_has_are_not_converted(folder, tmp_path):
    (folder / "config.json").write_text(json.dumps({**TINY.to_dict(), "num_hidden_layers": 10**6}))
    with pytest.raises(WeightsError, match="asks for 1000000 blocks"):
        convert(folder, tmp_path / "out", lowercase=True)


# ---- Time and memory ----

DOTS = [40_000 * ".", 20_000 * ". ", 20_000 * '."', "! " + 40_000 * "(", "Mr" + 40_000 * "."]


@pytest.mark.parametrize("text", DOTS, ids=lambda text: repr(text[:4]))
def test_sentences_of_a_long_run_of_marks(text):
    start = time.monotonic()
    assert "".join(split_sentences(text)).replace(" ", "") == text.replace(" ", "")
    assert time.monotonic() - start < 2


def test_words_are_shortened_at_once():
    start = time.monotonic()
    assert svg.shorten(40_000 * "o", 100).endswith("o…")
    assert time.monotonic() - start < 2


def test_memory_of_a_tokenizer_is_bounded_by_its_pieces():
    tokenizer = Tokenizer(["[UNK]", *"!?.,"])
    for number in range(7000):
        tokenizer.ids("".join("!?.,"[number >> 2 * k & 3] for k in range(100)))
    memory = tokenizer.engine._chunk_ids
    assert sum(map(len, memory.values())) <= 2**19


def test_a_tokenizer_with_a_long_token_travels():
    tokenizer = Tokenizer(["[UNK]", "a", 1000 * "ab", "##b"])
    tokenizer.ids("abb abbb")
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.ids("abb ab [UNK]") == tokenizer.ids("abb ab [UNK]")


# ---- What is shown ----


def test_no_password_is_shown():
    error = HubError("nothing at https://me:se@cret@mirror.org/api, see http://x:y@z")
    assert str(error) == "nothing at https://mirror.org/api, see http://z"


def test_a_title_cannot_turn_round():
    assert Picture("<svg/>", "a\u202eb").title == "aU+202Eb"


def test_config_of_other_kinds_is_a_sentence(tmp_path):
    path = tmp_path / "config.json"
    for content in ('{"hidden_size": null}', "[]", "3", '{"hidden_size": 20, "vocab_size": [1]}'):
        path.write_text(content)
        with pytest.raises(ValueError, match="config.json is not a BERT config: "):
            BertConfig.from_json_file(path)
