"""Variants from files of transformers, to files of transformers; and what is refused, in words."""

import json
import re
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

import minibert
from minibert.variants.table import TABLE, architecture_in, architecture_of
from minibert.weights.loading import load_weights, save_weights
from tests.variants.twins import CASES, batch_for, inputs_of_twin, twin_of, variant

ROOT = Path(__file__).resolve().parents[2]
FILES = [case for case in CASES if "-" not in case.replace("xlm-", "")]  # one of each kind
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "river", "bank", "##s", "the", "was"]


def logits_of(output) -> torch.Tensor:
    fields = output._asdict() if hasattr(output, "_asdict") else dict(output)
    return fields.get("logits", fields.get("prediction_logits"))


@pytest.mark.parametrize("case", FILES)
def test_from_transformers(tmp_path, case):
    """A folder that transformers wrote: every tensor has its place, and the logits are equal."""
    model, kind = variant(case)
    twin = twin_of(model, kind, case)
    twin.save_pretrained(tmp_path)
    assert architecture_in(tmp_path) is kind
    loaded, report = load_weights(tmp_path, torch.float64, architecture=kind)
    assert loaded.config == model.config
    assert not [why for why in report.ignored.values() if "not part of" in why]
    batch = batch_for(case)
    with torch.no_grad():
        ours = logits_of(loaded(**batch, output_attentions=True))
        theirs = logits_of(twin(**inputs_of_twin(case, batch)))
    assert float((ours - theirs).abs().max()) <= 1e-12


@pytest.mark.parametrize("case", FILES)
def test_to_transformers(tmp_path, case):
    """A folder that minibert wrote: transformers misses nothing, and gives equal logits."""
    model, kind = variant(case)
    save_weights(model, tmp_path, architecture=architecture_of(model.config))
    name = json.loads((tmp_path / "config.json").read_text())["architectures"][0]
    twin, loading = getattr(transformers, name).from_pretrained(
        tmp_path, output_loading_info=True, dtype=torch.float64, attn_implementation="eager"
    )
    assert not loading["missing_keys"] and not loading["mismatched_keys"]
    assert all(".pooler." in key for key in loading["unexpected_keys"])
    batch = batch_for(case)
    with torch.no_grad():
        ours = logits_of(model(**batch, output_attentions=True))
        theirs = logits_of(twin.eval()(**inputs_of_twin(case, batch)))
    assert float((ours - theirs).abs().max()) <= 1e-12
    again, report = load_weights(tmp_path, torch.float64, architecture=kind)
    assert not report.ignored and again.config == model.config
    for (name, a), (_, b) in zip(model.named_parameters(), again.named_parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("case", FILES)
def test_the_encoder_alone(tmp_path, case):
    """What AutoModel saves: no prefix, no heads."""
    model, kind = variant(case)
    twin = twin_of(model, kind, case)
    getattr(twin, kind.prefix).save_pretrained(tmp_path)
    loaded, _ = load_weights(tmp_path, torch.float64, architecture=kind)
    batch = batch_for(case)
    inputs = inputs_of_twin(case, batch)
    with torch.no_grad():
        ours = loaded.bert(**batch, output_attentions=True).last_hidden_state
        theirs = getattr(twin, kind.prefix)(**inputs).last_hidden_state
    assert float((ours - theirs).abs().max()) <= 1e-12


@pytest.mark.parametrize("case", FILES)
def test_defaults_of_a_config(case):
    """A field that config.json leaves out means what it means in transformers."""
    kind = TABLE[CASES[case][0]]
    theirs = transformers.AutoConfig.for_model(CASES[case][0]).to_dict()
    if CASES[case][0] == "deberta-v2":  # where the defaults of transformers are no DeBERTa
        with pytest.raises(ValueError, match="relative_attention must be True, got False"):
            kind.config_class.from_dict(theirs)
        theirs = {k: v for k, v in theirs.items() if k not in kind.config_class.fixed}
        theirs = {**theirs, **kind.config_class.fixed}
    values = kind.config_class.from_dict(theirs)
    given = {
        **kind.config_class.fixed,
        "max_position_embeddings": theirs["max_position_embeddings"],
    }
    assert kind.config_class.from_dict(given) == values


@pytest.mark.parametrize(
    "case, change, message",
    [
        ("roberta", {"position_embedding_type": "relative_key"}, "must be 'absolute', got"),
        ("roberta", {"is_decoder": True}, "is_decoder must be False"),
        ("roberta", {"pad_token_id": None}, "pad_token_id must be an id"),
        ("distilbert", {"sinusoidal_pos_embds": True}, "sinusoidal_pos_embds must be False"),
        ("distilbert", {"activation": "relu"}, "hidden_act must be one of"),
        ("albert", {"num_hidden_groups": 2}, "num_hidden_groups must be 1, got 2"),
        ("albert", {"inner_group_num": 2}, "inner_group_num must be 1, got 2"),
        ("generator", {"embedding_size": 0}, "embedding_size must be a positive"),
        ("deberta", {"conv_kernel_size": 3}, "conv_kernel_size must be 0, got 3"),
        ("deberta", {"pos_att_type": "c2p"}, "pos_att_type must be"),
        ("deberta", {"share_att_key": False}, "share_att_key must be True"),
        ("deberta", {"position_biased_input": True}, "position_biased_input must be False"),
        ("deberta", {"embedding_size": 8}, "embedding_size must be 20"),
        ("deberta", {"position_buckets": 0}, "position_buckets must be a positive"),
        ("deberta", {"model_type": "deberta"}, "describes another model"),
        ("deberta", {"model_type": "gpt2"}, "describes another model.*expected one of bert, dist"),
    ],
)
def test_what_is_refused(tmp_path, case, change, message):
    """Raises a sentence that names the file, never a wrong number or a bare traceback."""
    model, kind = variant(case)
    save_weights(model, tmp_path, architecture=kind)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message) as error:
        minibert.load(tmp_path)
    assert str(path) in str(error.value)


def test_a_table_that_is_not_tied_is_refused(tmp_path):
    model, kind = variant("roberta")
    save_weights(model, tmp_path, architecture=kind)
    state = load_file(tmp_path / "model.safetensors")
    state["lm_head.decoder.weight"] = state["roberta.embeddings.word_embeddings.weight"] + 1
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match=r"lm_head\.decoder\.weight differs from"):
        load_weights(tmp_path, architecture=kind)


def test_a_file_and_a_config_of_two_models(tmp_path):
    """A projection in the file, and a config without one."""
    model, kind = variant("generator")
    save_weights(model, tmp_path, architecture=kind)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "embedding_size": 20}))
    with pytest.raises(ValueError, match="a model without it"):
        load_weights(tmp_path, architecture=kind)


def test_the_first_blocks_alone(tmp_path):
    for case in ("distilbert", "roberta", "albert", "deberta"):
        model, kind = variant(case)
        folder = tmp_path / case
        folder.mkdir()
        save_weights(model, folder, architecture=kind)
        short, _ = load_weights(folder, None, architecture=kind, num_hidden_layers=2)
        batch = batch_for(case)
        whole = model.bert(**batch, output_hidden_states=True)
        part = short.bert(**batch, output_hidden_states=True)
        assert len(part.hidden_states) == 3
        assert float((part.last_hidden_state - whole.hidden_states[2]).abs().max()) < 1e-12


@pytest.mark.parametrize("case", ["distilbert", "generator", "discriminator"])
def test_in_one_hand(tmp_path, case):
    """minibert.load reads model_type; texts, pairs, vectors, blanks, traces; saved and loaded."""
    model, kind = variant(case)
    save_weights(model.float(), tmp_path, architecture=kind)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    bert = minibert.load(tmp_path)
    assert type(bert.pretraining) is kind.model_class and type(bert.config) is kind.config_class
    with torch.no_grad():
        pair = bert.model(**bert.tokenizer(["the rivers"], ["the bank was"])).last_hidden_state
    vectors = bert.embed(["the river", "the bank was the bank"])
    direct = bert.model(**bert.tokenizer("the river")).last_hidden_state.mean(dim=1)
    assert torch.allclose(torch.from_numpy(vectors[:1]), direct, atol=1e-5)
    trace = bert.trace("the river")
    blocks = [name for name in trace if name.endswith("attention.probabilities")]
    assert len(blocks) == bert.config.num_hidden_layers
    if case == "discriminator":
        scores = bert.replaced_tokens("the river was")
        assert [token for token, _ in scores] == ["[CLS]", "the", "river", "was", "[SEP]"]
        logits = bert.pretraining(**bert.tokenizer("the river was")).logits
        assert torch.allclose(logits[0].sigmoid(), torch.tensor([p for _, p in scores]))
        with pytest.raises(ValueError, match="no masked-word head"):
            bert.fill_mask("the [MASK]")
    else:
        assert len(bert.fill_mask("the [MASK] was")[0]) == 5
        with pytest.raises(ValueError, match="no replaced-token head"):
            bert.replaced_tokens("the river")
    with pytest.raises(ValueError, match="no next-sentence head"):
        bert.next_sentence("the river", "the bank")
    bert.save(tmp_path / "again")
    again = minibert.load(tmp_path / "again")
    with torch.no_grad():
        same = again.model(**again.tokenizer(["the rivers"], ["the bank was"])).last_hidden_state
    assert torch.equal(pair, same)


def test_nothing_outside_knows_a_variant():
    """core/ and what loads files name none of them: the table does."""
    names = re.compile(r"roberta|distil|albert|electra|camembert", re.IGNORECASE)
    library = ROOT / "minibert"
    paths = [*(library / "core").glob("*.py"), library / "bert.py"]
    paths += [library / "weights/names.py", library / "weights/loading.py"]
    for path in paths:
        assert not names.search(path.read_text(encoding="utf-8")), path
