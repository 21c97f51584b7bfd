"""Files of the variants in `show`, `fetch` and `verify`."""

import json

import pytest
import torch

from minibert.weights.loading import save_weights
from minibert.weights.names import name_table
from tests.variants.twins import batch_for, twin_of, variant
from weights_tools.fetch import repository_of
from weights_tools.show import show
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
    assert "its variants" in str(verdict)


def test_official_names():
    assert repository_of("roberta-base") == "FacebookAI/roberta-base"
    assert repository_of("electra-small-discriminator") == "google/electra-small-discriminator"
    with pytest.raises(ValueError, match="deberta-v3-base"):
        repository_of("deberta")
