"""The layers of tasks on variants, read from files of transformers: its scores, its pipelines."""

import numpy as np
import pytest
import torch
import transformers

import minibert
from minibert.tasks.families import FAMILIES, KINDS
from minibert.tasks.saved import head_of
from minibert.tasks.tokens import AGGREGATIONS
from minibert.variants.table import TABLE
from minibert.weights.loading import load_weights
from tests.tasks.conftest import SENTENCES, WORDS
from tests.variants.twins import SIZES, batch_for, inputs_of_twin

LABELS = ["O", "B-PER", "I-PER"]


def fine_tuned(family: str, kind, folder, **sizes):
    """A model of transformers with trained-like numbers, written into a folder."""
    word = FAMILIES[family][0]
    fields = (
        {"type_vocab_size": 1} if "bert" in family and family.startswith(("rob", "xlm")) else {}
    )
    labels = {"id2label": dict(enumerate(LABELS)), "label2id": {n: i for i, n in enumerate(LABELS)}}
    one = {} if kind.architecture.endswith(("Answering", "Choice")) else labels
    kind_of_config = TABLE[family].config_class(**{**SIZES, **fields, **sizes})
    values = {**kind_of_config.to_dict(), **one}
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    config._attn_implementation = "eager"
    torch.manual_seed(0)
    model = getattr(transformers, word + kind.architecture.removeprefix("Bert"))(config)
    for name, parameter in model.named_parameters():
        size = 0.3 if parameter.dim() == 1 else 2.0 / config.hidden_size**0.5
        parameter.data.normal_(1.0 if "Norm.weight" in name else 0.0, size)
    model.double().eval().save_pretrained(folder)
    return model


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.architecture)
@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_transformers(family, kind, tmp_path):
    theirs = fine_tuned(family, kind, tmp_path)
    case = {"electra": "generator", "deberta-v2": "deberta"}.get(family, family)
    batch = batch_for(case)
    model, report = load_weights(tmp_path, torch.float64, architecture=TABLE[family])
    pooler = model.bert.pooler
    head = head_of(tmp_path, model.bert, report.ignored)
    inputs = inputs_of_twin(case, batch)
    if kind.architecture.endswith("Choice"):
        inputs = {name: tensor[None] for name, tensor in inputs.items()}
    with torch.no_grad():
        output = theirs(**inputs)
        ours = head(**batch)
    if "logits" in output:
        expected = output.logits.reshape(ours.shape)
    else:
        expected = torch.stack([output.start_logits, output.end_logits], dim=-1)
    assert type(head) is kind and float((ours - expected).abs().max()) <= 1e-12
    assert model.bert.pooler is pooler, "the encoder is as it was"
    assert head.bert.encoder is model.bert.encoder


def test_a_layer_that_cannot_be_read_is_a_warning(tmp_path, monkeypatch):
    fine_tuned("albert", KINDS[0], tmp_path)
    model, report = load_weights(tmp_path, architecture=TABLE["albert"])
    monkeypatch.delitem(FAMILIES, "albert")
    with pytest.warns(UserWarning, match="left out: minibert reads none of the kind albert"):
        assert head_of(tmp_path, model.bert, report.ignored) is None


def written(family: str, kind, folder):
    """With a tokenizer beside it: byte-level BPE, or WordPiece."""
    if family == "roberta":
        tokenizers = pytest.importorskip("tokenizers")
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        trained = tokenizers.ByteLevelBPETokenizer()
        trained.train_from_iterator(SENTENCES, vocab_size=400, special_tokens=special)
        trained.save_model(str(folder))
        size = trained.get_vocab_size()
    else:
        (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
        size = len(WORDS)
    fine_tuned(family, kind, folder, vocab_size=size, max_position_embeddings=300)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    return minibert.load(folder, dtype="float32"), {"model": str(folder), "tokenizer": theirs}


@pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")
@pytest.mark.parametrize("family", ["distilbert", "roberta"])
def test_answers_are_those_of_the_pipelines(family, tmp_path):
    for kind in KINDS[:2]:
        (tmp_path / kind.__name__).mkdir()
    classifier, theirs = written(family, KINDS[0], tmp_path / KINDS[0].__name__)
    pipeline = transformers.pipeline("text-classification", top_k=None, **theirs)
    for a, b in zip(SENTENCES[:4], SENTENCES[4:8]):
        expected = pipeline({"text": a, "text_pair": b})
        ours = classifier.classify(a, b)
        assert [one.label for one in ours] == [one["label"] for one in expected]
        scores = [one.score for one in ours], [one["score"] for one in expected]
        assert np.allclose(*scores, rtol=0, atol=2e-6)
    tagger, theirs = written(family, KINDS[1], tmp_path / KINDS[1].__name__)
    for aggregation in AGGREGATIONS:
        pipeline = transformers.pipeline(
            "token-classification", aggregation_strategy=aggregation, **theirs
        )
        key = "entity" if aggregation == "none" else "entity_group"
        for text in SENTENCES[:6]:
            assert [(e.label, e.start, e.end) for e in tagger.tag(text, aggregation)] == [
                (e[key], e["start"], e["end"]) for e in pipeline(text)
            ], (aggregation, text)
    with pytest.warns(UserWarning, match="layer of the task is not written"):
        tagger.save(tmp_path / "again")
    with pytest.raises(ValueError, match="for answers to questions it needs"):
        tagger.answer("who?", "Anna came.")


def test_rows_of_two_texts_have_the_segments_of_the_variant(tmp_path):
    reader, _ = written("roberta", KINDS[2], tmp_path)
    text = SENTENCES[0]
    found = reader.answer("Who was it?", text)
    batch = reader.tokenizer([("Who was it?", text)], return_token_type_ids=True)
    assert not batch["token_type_ids"].any()
    with torch.no_grad():
        scores = reader.head(**{k: batch[k] for k in ("input_ids", "attention_mask")})[0]
    place = (scores[:, 0] == found.start_logit).nonzero()
    assert len(place) == 1, "the score is that of the pair as the tokenizer puts it together"
