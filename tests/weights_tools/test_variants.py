"""Files of the variants in `show`, `fetch` and `verify`."""

import json

import pytest
import torch
from safetensors.torch import save_file

from minibert.variants.roberta import RobertaEmbeddings
from minibert.weights.loading import save_weights
from minibert.weights.names import name_table
from tests.variants.twins import batch_for, twin_of, variant
from weights_tools.fetch import repository_of
from weights_tools.show import show
from weights_tools.verify.check_transformers import check_transformers
from weights_tools.verify.command import verify


@pytest.mark.parametrize("case", ["distilbert", "roberta", "albert", "discriminator", "deberta"])
def test_show_names_the_parts(tmp_path, case):
    model, kind = variant(case)
    twin = twin_of(model, kind, case)
    twin.save_pretrained(tmp_path / "theirs")
    save_weights(model, tmp_path, architecture=kind)
    listing = show(tmp_path)
    ours = {row.our_name for row in listing.rows}
    parts = {row.part for row in listing.rows}
    assert ours == {name.removeprefix("bert.") for name, _ in model.named_parameters()}
    assert "unknown" not in parts and {"embeddings", "block 0 attention"} <= parts
    numbers = sum(parameter.numel() for parameter in model.bert.parameters())
    assert list(listing.totals.values())[-1] == numbers  # of the encoder
    assert {row.our_name for row in show(tmp_path / "theirs").rows} <= ours | {None}
    assert name_table(model.config, kind).keys() >= {
        row.name.removeprefix(f"{kind.prefix}.") for row in listing.rows
    }


@pytest.mark.parametrize("case", ["distilbert", "roberta", "albert", "generator", "deberta"])
def test_verify_holds_a_variant_to_published_numbers(tmp_path, case):
    """The pack's numbers come from transformers; one that is off by 0.01 fails."""
    model, kind = variant(case)
    twin = twin_of(model, kind, case).float()
    save_weights(model.float(), tmp_path, architecture=kind)
    ids = batch_for(case)["input_ids"][:1, :4]
    mask = torch.ones_like(ids)
    with torch.no_grad():
        output = twin(input_ids=ids, attention_mask=mask)
    logits = getattr(output, "logits", getattr(output, "prediction_logits", None))
    printed = [[round(float(x), 4) for x in row[1:4]] for row in logits[0, 1:3]]
    check = {
        "kind": "gate", "input": "ids", "output": "prediction_logits",
        "index": [0, [1, 2], [1, 2, 3]], "printed": {"decimals": 4}, "allowance": "source",
        "hidden_act": model.config.hidden_act, "source": "twin", "path": "none",
    }  # fmt: skip
    wrong = [[number + 0.01 for number in row] for row in printed]
    pack = {
        "name": "tiny",
        "claims": ["tiny"],
        "config": {"model_type": kind.config_class.model_type, **vars(model.config)},
        "arrays": None,
        "allowances": {"source": {"noise": 1e-4, "origin": "float32"}},
        "sources": {
            "twin": {"repository": "a/b", "commit": None, "licence": "none", "what": "a test"}
        },
        "inputs": {"ids": {"input_ids": ids.tolist(), "attention_mask": mask.tolist()}},
        "checks": [
            {"id": "right", "expected": printed, **check},
            {"id": "wrong", "expected": [[round(x, 4) for x in row] for row in wrong], **check},
        ],
    }
    (tmp_path / "pack.json").write_text(json.dumps(pack))
    verdict = verify(tmp_path, pack=tmp_path / "pack.json")
    status = {row.name: row.status for row in verdict.rows}
    assert status["right"] == "pass" and status["wrong"] == "FAIL", str(verdict)
    beside = [row for row in verdict.rows if row.section == "transformers"]
    assert {"embeddings", "block 2 attention", "block 2", "masked-word head"} <= {
        row.name for row in beside if row.status == "pass"
    }
    assert all(row.status == "pass" for row in beside)


def test_verify_sees_a_mistake_beside_transformers(tmp_path, monkeypatch):
    """Positions from 0 in RoBERTa, and a discriminator whose head has the wrong activation."""
    model, kind = variant("roberta")
    save_weights(model.float(), tmp_path, architecture=kind)
    right = RobertaEmbeddings.forward

    def from_zero(self, input_ids, **others):
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        return right(self, input_ids, **{**others, "position_ids": places})

    assert check_transformers(tmp_path, model)[0].status == "pass"
    monkeypatch.setattr(RobertaEmbeddings, "forward", from_zero)
    wrong = [row.name for row in check_transformers(tmp_path, model) if row.status == "FAIL"]
    assert wrong[0] == "embeddings" and wrong[-1] == "masked-word head"
    monkeypatch.undo()
    model, kind = variant("discriminator")
    (tmp_path / "electra").mkdir()
    save_weights(model.float(), tmp_path / "electra", architecture=kind)
    assert {row.status for row in check_transformers(tmp_path / "electra", model)} == {"pass"}
    model.replaced_token.activation = torch.nn.Tanh()
    rows = check_transformers(tmp_path / "electra", model)
    assert [row.name for row in rows if row.status == "FAIL"] == ["replaced-token head"]


def test_show_says_why_a_tensor_is_ignored(tmp_path):
    """What the official files of DeBERTa and RoBERTa hold beside the model."""
    names = ["mask_predictions.dense.weight", "deberta.embeddings.position_embeddings.weight"]
    names += ["roberta.embeddings.position_ids", "classifier.out_proj.weight"]
    save_file({name: torch.zeros(2, 3) for name in names}, tmp_path / "model.safetensors")
    parts = {row.name: row.part for row in show(tmp_path / "model.safetensors").rows}
    assert "replaced-token head of the training" in parts[names[0]]
    assert "positions do not enter" in parts[names[1]] and "a constant" in parts[names[2]]
    assert parts[names[3]] == "unknown"  # a task's layer is not to be lost in silence


def test_official_names():
    assert repository_of("roberta-base") == "FacebookAI/roberta-base"
    assert repository_of("electra-small-discriminator") == "google/electra-small-discriminator"
    with pytest.raises(ValueError, match="deberta-v3-base"):
        repository_of("deberta")
