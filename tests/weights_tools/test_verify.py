"""``verify`` end to end on a stand-in: its golden pack is recorded here, from transformers.

Then known mistakes are put into our computation, one by one: each must make ``verify`` fail, and
the first row that fails must be the one of the part that is wrong.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

import weights_tools.verify.check_files
from minibert.core import attention, embeddings, encoder, heads, model
from minibert.core.config import BertConfig
from minibert.core.model import BertModel
from minibert.weights.hub import checksum
from minibert.weights.loading import load_weights, save_weights
from tests.conftest import shared
from tests.parity.twins import TINY, trained_like
from tests.weights_tools.recording import recorded
from weights_tools.cli import main
from weights_tools.convert import convert_to_tf
from weights_tools.verify.check_golden import check_golden
from weights_tools.verify.check_transformers import check_transformers
from weights_tools.verify.command import verify
from weights_tools.verify.pack import load_pack
from weights_tools.verify.verdict import Row, Verdict

TWO = {
    "input_ids": [[2, 7, 9, 4, 3, 11, 12, 3], [2, 30, 4, 3, 0, 0, 0, 0]],
    "attention_mask": [[1] * 8, [1] * 4 + [0] * 4],
    "token_type_ids": [[0] * 5 + [1] * 3, [0] * 8],
    "labels": [[-100, -100, -100, 8, -100, -100, 13, -100], [-100, -100, 31, -100] + [-100] * 4],
    "next_sentence_label": [1, 0],
}


def record(folder) -> None:
    """What transformers computes for TWO, as a golden pack."""
    checks = []

    def add(name, output, index=None, act="gelu", **fields):
        given = None if output.startswith("parameter") else "two"
        how = {"printed": "float32", "allowance": "tiny", "kind": "gate", "hidden_act": act}
        known = {"source": "reference", "path": "BertForPreTraining"}
        checks.append({"id": name, "input": given, "output": output, "index": index})
        checks[-1] |= {**how, **known, **fields}

    add("word-rows", "parameter:bert.embeddings.word_embeddings.weight", [[2, 7, 60]], "any")
    for number in range(TINY.num_hidden_layers + 1):
        rows = [(0, list(range(8))), (1, list(range(4)))]
        for row, real in rows if number else []:
            output, act = f"attentions[{number - 1}]", "any" if number == 1 else "gelu"
            add(f"attention-{number}-{row}", output, [row, None, real], act)
        for row, real in rows:
            act = "gelu" if number else "any"
            add(f"state-{number}-{row}", f"hidden_states[{number}]", [row, real], act)
    add("sum-of-four", "sum_of_last_four", [0])
    add("cosine", "cosine", [[0, 1], [1, 2]])
    add("pooler", "pooler_output")
    add("words", "prediction_logits", [0])
    add("word-probabilities", "prediction_probabilities", [1, 2])
    add("top-words", "top_words", [0, 3], printed="ids", expected=[0, 0, 0])
    add("word-loss", "masked_word_loss")
    add("word-likelihood", "masked_word_log_likelihood")
    add("pair", "seq_relationship_logits")
    add("pair-probabilities", "seq_relationship_probabilities")
    add("pair-loss", "next_sentence_loss")
    add("whole-loss", "pretraining_loss")
    add("a-lead", "pooler_output", kind="lead", printed={"decimals": 4})
    add("tanh-state", "hidden_states[-1]", [0], "gelu_new")  # Google's later code
    sources = {"reference": {"repository": "x/y", "commit": None, "licence": "x", "what": "a test"}}
    pack = {
        "name": "stand-in",
        "claims": ["stand-in"],
        "config": {**TINY.to_dict(), "pad_token_id": 0},
        "allowances": {"tiny": {"noise": 5e-5, "origin": "small models are noisier"}},
        "sources": sources,
        "inputs": {"two": TWO},
        "checks": checks,
    }
    pack["config"].pop("model_type")
    reference = transformers.BertForPreTraining.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float64
    ).eval()
    path = recorded(pack, reference, folder.parent)
    pack = json.loads(path.read_text())
    (lead,) = (check for check in pack["checks"] if check["id"] == "a-lead")
    lead["expected"] = (np.array(lead["expected"]) + 1).round(4).tolist()
    path.write_text(json.dumps(pack))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "model"
    folder.mkdir()
    save_weights(trained_like(TINY, seed=3).float(), folder)
    record(folder)
    return folder


@pytest.fixture
def stand_in(made, tmp_path):
    shutil.copytree(made.parent, tmp_path / "stand", dirs_exist_ok=True)
    return tmp_path / "stand" / "model"


def check(folder, **how) -> Verdict:
    return verify(folder, pack=folder.parent / "pack.json", **how)


def test_the_right_computation_passes(stand_in):
    verdict = check(stand_in)
    assert not verdict.failed and verdict.exit_code == 0, str(verdict)
    golden = [row for row in verdict.rows if row.section == "golden"]
    assert len(golden) >= 30 and all(row.status in ("pass", "info") for row in golden)
    by_name = {row.name: row for row in verdict.rows}
    assert by_name["tanh-state"].fits == "gelu_new" and by_name["state-3-0"].fits == "gelu"
    assert by_name["state-0-0"].fits == "both" and by_name["a-lead"].fits == "neither"
    layers = [row for row in verdict.rows if row.section == "transformers"]
    assert [row.name for row in layers] == [
        *("embeddings", "block 0 attention", "block 0", "block 1 attention", "block 1"),
        *("block 2 attention", "block 2", "pooler", "masked-word head", "next-sentence head"),
    ]
    assert all(set(row.errors) == {"float32", "float64"} for row in layers)
    assert max(row.errors["float64"] for row in layers) < 1e-12
    assert "VERIFIED" in verdict.summary and "published results" in str(verdict)
    json.dumps(verdict.to_dict())


# Ten mistakes, the change that makes each, and the first golden row that must fail.


def without_segments(self, input_ids, *, token_type_ids=None, position_ids=None):
    positions = torch.arange(input_ids.shape[1])
    return self.norm(self.token(input_ids) + self.position(positions) + self.segment.weight[0])


def positions_from_one(self, input_ids, *, token_type_ids=None, position_ids=None):
    positions = torch.arange(1, input_ids.shape[1] + 1).clamp(max=15)
    return self.norm(
        self.token(input_ids) + self.segment(token_type_ids) + self.position(positions)
    )


def softmax_over_queries(self, query, key, value, bias):
    scores = query @ key.transpose(2, 3) * self.scale
    probabilities = (scores if bias is None else scores + bias).softmax(dim=-2)
    return probabilities @ value, probabilities


def no_scale(self, query, key, value, bias):
    scores = query @ key.transpose(2, 3)
    probabilities = (scores if bias is None else scores + bias).softmax(dim=-1)
    return probabilities @ value, probabilities


def merge_without_transpose(self, context):
    B, A, T, D = context.shape
    return context.reshape(B, T, A * D)


def no_residual(self, hidden_states, attention_bias=None, explicit=False):
    attended, probabilities = self.attention(hidden_states, attention_bias, explicit)
    middle = self.attention_norm(attended)
    return self.output_norm(self.feed_forward(middle) + middle), probabilities


def pooler_without_tanh(self, hidden_states):
    return self.dense(hidden_states[:, 0])


def words_without_bias(self, hidden_states, token_embedding):
    return self.norm(self.activation(self.transform(hidden_states))) @ token_embedding.T


def words_without_norm(self, hidden_states, token_embedding):
    return self.activation(self.transform(hidden_states)) @ token_embedding.T + self.bias


def swapped_pair(self, pooler_output):
    return self.logits(pooler_output).flip(-1)


def mask_upside_down(attention_mask, dtype):
    hidden = attention_mask != 0
    if hidden.all():
        return None
    nothing = torch.zeros(hidden.shape, dtype=dtype)
    return nothing.masked_fill(hidden, torch.finfo(dtype).min)[:, None, None]


MISTAKES = {
    "segments ignored": (embeddings.BertEmbeddings, "forward", without_segments, "state-0-0"),
    "positions from 1": (embeddings.BertEmbeddings, "forward", positions_from_one, "state-0-0"),
    "softmax over queries": (
        attention.BertAttention,
        "attend",
        softmax_over_queries,
        "attention-1-0",
    ),
    "no division by the root": (attention.BertAttention, "attend", no_scale, "attention-1-0"),
    "mask upside down": (model, "attention_bias_from_mask", mask_upside_down, "attention-1-0"),
    "heads merged untransposed": (
        attention.BertAttention,
        "merge_heads",
        merge_without_transpose,
        "state-1-0",
    ),
    "tanh for erf": (
        encoder,
        "activation_function",
        lambda name: torch.nn.GELU("tanh"),
        "state-1-0",
    ),
    "ReLU for GELU": (encoder, "activation_function", lambda name: torch.nn.ReLU(), "state-1-0"),
    "no residual": (encoder.BertBlock, "forward", no_residual, "state-1-0"),
    "pooler without tanh": (model.BertPooler, "forward", pooler_without_tanh, "pooler"),
    "words without bias": (heads.MaskedWordHead, "forward", words_without_bias, "words"),
    "words without LayerNorm": (heads.MaskedWordHead, "forward", words_without_norm, "words"),
    "the pair swapped": (heads.NextSentenceHead, "forward", swapped_pair, "pair"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_fails_in_its_row(stand_in, monkeypatch, mistake):
    where, name, wrong, first = MISTAKES[mistake]
    monkeypatch.setattr(where, name, wrong)
    verdict = check(stand_in, with_transformers=False)
    assert verdict.exit_code == 1
    assert verdict.failed[0].name == first, str(verdict)
    compared = check_of_transformers(stand_in)
    assert compared.failed, "the comparison with transformers must see it as well"
    part = {"state-0-0": "embeddings", "attention-1-0": "block 0 attention", "state-1-0": "block 0"}
    heads_of = {"pooler": "pooler", "words": "masked-word head", "pair": "next-sentence head"}
    assert compared.failed[0].name == {**part, **heads_of}[first]


def check_of_transformers(folder) -> Verdict:
    loaded, _ = load_weights(folder)
    return Verdict("", tuple(check_transformers(folder, loaded)))


def test_a_small_slip_is_seen_in_float64(stand_in, monkeypatch):
    """eps 1e-5 changes float32 outputs by less than their noise; the formula is wrong all the
    same."""
    build = embeddings.BertEmbeddings.__init__

    def wrong(self, config):
        build(self, config)
        self.norm.eps = 1e-5 if config.layer_norm_eps == 1e-12 else config.layer_norm_eps

    monkeypatch.setattr(embeddings.BertEmbeddings, "__init__", wrong)
    verdict = check_of_transformers(stand_in)
    assert verdict.failed[0].name == "embeddings"
    assert verdict.failed[0].errors["float64"] > 1e-9


def change_weights(folder, key, change) -> None:
    path = folder / "model.safetensors"
    state = safetensors.torch.load_file(path)
    state[key] = change(state[key]).contiguous()
    safetensors.torch.save_file(state, path, {"format": "pt"})


@pytest.mark.parametrize(
    ("key", "change", "first"),
    [
        ("bert.embeddings.word_embeddings.weight", lambda w: w.roll(1, 0), "word-rows"),
        ("bert.encoder.layer.0.attention.self.query.weight", lambda w: w.T, "attention-1-0"),
        ("bert.encoder.layer.0.attention.self.value.weight", lambda w: w.T, "state-1-0"),
        ("bert.encoder.layer.1.output.LayerNorm.weight", torch.ones_like, "state-2-0"),
        ("bert.pooler.dense.weight", lambda w: w.T, "pooler"),
        ("cls.predictions.bias", torch.zeros_like, "words"),
        ("cls.seq_relationship.weight", lambda w: w.flip(0), "pair"),
    ],
)
def test_wrong_weights_fail_in_their_row(stand_in, key, change, first):
    """transformers reads the same wrong file and agrees: only the published numbers can tell."""
    change_weights(stand_in, key, change)
    verdict = check(stand_in)
    assert verdict.failed[0].name == first, str(verdict)
    assert all(row.status == "pass" for row in verdict.rows if row.section == "transformers")


def test_a_wrong_config_fails(stand_in):
    path = stand_in / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "hidden_act": "gelu_new"}))
    verdict = check(stand_in)
    assert verdict.failed[0].name == "config: hidden_act"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layer_norm_eps": 1e-5}))
    assert "config: layer_norm_eps" in [row.name for row in check(stand_in).failed]


def test_nan_fails(stand_in):
    change_weights(stand_in, "bert.pooler.dense.bias", lambda b: b * float("nan"))
    verdict = check(stand_in)
    assert verdict.failed[0].name == "pooler" and verdict.exit_code == 1


def test_fingerprints(stand_in, monkeypatch):
    file = stand_in / "model.safetensors"
    digest = checksum(file)
    known = {
        "ours": {
            "model": "stand-in",
            "files": {
                file.name: {"bytes": file.stat().st_size, "sha256": digest},
                "vocab.txt": {"sha256": "0" * 64},
            },
        }
    }
    monkeypatch.setattr(weights_tools.verify.check_files, "known_fingerprints", lambda: known)
    assert check(stand_in, claim="stand-in").rows[0] == Row(
        "files", file.name, "pass", "is that of ours"
    )
    raw = bytearray(file.read_bytes())
    raw[-100] ^= 1  # a bit so low that no tolerance sees it
    file.write_bytes(raw)
    verdict = check(stand_in, claim="stand-in")
    assert verdict.failed[0].name == "model.safetensors" and "damaged" in verdict.failed[0].detail
    assert check(stand_in).rows[0].status == "info"  # nobody claimed that it is that file
    (stand_in / "vocab.txt").write_text("other\n")
    assert "vocab.txt" in [row.name for row in check(stand_in, claim="stand-in").failed]


def test_another_model_is_not_a_broken_one(stand_in, tmp_path):
    """Same sizes, other weights, no claim: nothing failed, and nothing is said to have passed."""
    other = tmp_path / "other"
    other.mkdir()
    save_weights(trained_like(TINY, seed=9).float(), other)
    shutil.copy(stand_in.parent / "pack.json", tmp_path / "pack.json")
    shutil.copy(stand_in.parent / "pack.npz", tmp_path / "pack.npz")
    verdict = check(other)
    assert verdict.exit_code == 1  # the pack was named, which is a claim
    unclaimed = check_golden(
        trained_like(TINY, seed=9).float(), load_pack(tmp_path / "pack.json"), False, False
    )
    assert [row.status for row in unclaimed] == ["not run"]
    assert "other weights" in unclaimed[0].detail


def test_on_a_model_without_golden_numbers(tmp_path):
    """What applies is run, and what does not is said."""
    save_weights(trained_like().float(), tmp_path)
    verdict = verify(tmp_path)
    assert verdict.exit_code == 0 and verdict.summary.startswith("AGREES WITH TRANSFORMERS")
    golden = [row for row in verdict.rows if row.section == "golden"]
    assert {row.status for row in golden} == {"not run"}
    assert "another model: vocab_size is 61" in golden[0].detail
    alone = verify(tmp_path, with_transformers=False)
    assert alone.exit_code == 3 and alone.summary.startswith("NOT RUN")


def test_without_the_official_file_nothing_passes(capsys):
    verdict = verify()
    assert {row.status for row in verdict.rows} == {"not run"}
    assert verdict.exit_code == 3 and "91 published results from 15 sources" in str(verdict)
    assert main(["verify", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["summary"].startswith("NOT RUN")


def test_a_claim_that_the_sizes_contradict(tmp_path):
    save_weights(trained_like().float(), tmp_path)
    verdict = verify(tmp_path, claim="bert-base-uncased", with_transformers=False)
    assert verdict.exit_code == 1
    assert "config: vocab_size" in [row.name for row in verdict.failed]
    named = tmp_path / "models--google-bert--bert-base-uncased" / "snapshots" / "abc"
    named.mkdir(parents=True)
    save_weights(trained_like().float(), named)
    assert verify(named, with_transformers=False).exit_code == 1


def test_a_claim_may_be_a_repository_and_must_be_known(tmp_path):
    save_weights(trained_like().float(), tmp_path)
    verdict = verify(tmp_path, claim="google-bert/bert-base-uncased", with_transformers=False)
    assert verdict.exit_code == 1
    with pytest.raises(ValueError, match="'bert-base-uncasd'.*expected one of.*bert-base-uncased"):
        verify(tmp_path, claim="bert-base-uncasd", with_transformers=False)


def test_a_model_of_base_size_with_other_weights():
    """The pack of bert-base-uncased on a model of its sizes: every kind of check runs, and none
    of the numbers can fit."""
    with torch.device("meta"):
        loaded = heads.BertForPreTraining(BertModel(BertConfig())).eval()
    loaded.to_empty(device="cpu")
    for parameter in loaded.parameters():
        torch.nn.init.constant_(parameter, 0.01)
    pack = load_pack("bert-base-uncased")
    few = {"hf-capital", "i-am-sinan", "minbert", None}
    checks = tuple(check for check in pack.checks if check.input in few)
    pack = dataclasses.replace(pack, checks=checks)
    rows = check_golden(loaded, pack, True, False)
    assert len(rows) == len(checks) + 1
    wrong = [row.name for row in rows if row.status == "pass" and row.name != "config"]
    assert not wrong
    assert [row.status for row in check_golden(loaded, pack, False, False)] == ["not run"]


def test_missing_heads_are_said(stand_in):
    path = stand_in / "model.safetensors"
    state = safetensors.torch.load_file(path)
    encoder_only = {k.removeprefix("bert."): v for k, v in state.items() if k.startswith("bert.")}
    encoder_only = {k: v for k, v in encoder_only.items() if not k.startswith("pooler")}
    safetensors.torch.save_file(encoder_only, path, {"format": "pt"})
    verdict = check(stand_in)
    by_name = {row.name: row for row in verdict.rows}
    assert by_name["words"].detail == "the file has no masked-word head"
    assert by_name["pair-loss"].detail == "the file has no next-sentence head"
    assert by_name["pooler"].detail == "the file has no pooler"
    assert by_name["state-3-0"].status == "pass" and verdict.exit_code == 0
    assert [row.name for row in verdict.rows if row.section == "transformers"][-1] == "block 2"


def test_a_tensorflow_checkpoint_is_converted_and_verified(stand_in, tmp_path):
    convert_to_tf(stand_in, tmp_path / "tf")
    verdict = verify(tmp_path / "tf", pack=stand_in.parent / "pack.json")
    assert verdict.exit_code == 0, str(verdict)
    assert any(row.name == "checksum of every tensor" for row in verdict.rows)


def test_real_index_files_are_recognised():
    """The Chinese index is Google's; without its data the model cannot be run."""
    folder = shared("tf_checkpoints/tf_index_only/google_chinese_L-12_H-768_A-12")
    rows = weights_tools.verify.check_files.check_files(folder, None)
    genuine = {row.name: row.detail for row in rows if row.status == "pass"}
    assert genuine["bert_model.ckpt.index"].endswith("google chinese_L-12_H-768_A-12 (TensorFlow)")
    assert "vocab.txt" in genuine
    with pytest.raises(ValueError, match="is missing"):
        verify(folder)


def test_without_transformers_installed(stand_in, monkeypatch):
    monkeypatch.setattr(weights_tools.verify.check_transformers, "find_spec", lambda name: None)
    verdict = check(stand_in)
    assert verdict.rows[-1].detail == "transformers is not installed"
    assert verdict.exit_code == 0


@pytest.mark.parametrize("certain", [True, False])
def test_a_number_on_one_page_alone_fails_and_says_whom_to_tell(stand_in, certain):
    """The same wrong number, once with a second source: both fail, one asks for a report."""
    path = stand_in.parent / "pack.json"
    pack = json.loads(path.read_text())
    (check_,) = (each for each in pack["checks"] if each["id"] == "pair")
    check_.pop("array")
    check_["expected"] = [[1.0, 2.0], [3.0, 4.0]]
    if certain:
        other = {"repository": "y/z", "commit": None, "licence": "x", "what": "a second"}
        pack["sources"]["other"] = other
        check_["confirmed_by"] = ["other"]
    arrays = dict(np.load(stand_in.parent / "pack.npz"))
    del arrays["pair"]
    np.savez(stand_in.parent / "pack.npz", **arrays)
    path.write_text(json.dumps(pack))
    verdict = check(stand_in, with_transformers=False)
    assert [row.name for row in verdict.failed] == ["pair"] and verdict.exit_code == 1
    assert ("Please tell us" in verdict.summary) != certain
    assert verdict.failed[0].detail.endswith("2 sources" if certain else "on one page alone")
