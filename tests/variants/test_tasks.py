"""The layers of tasks on variants, read from files of transformers: its scores, its pipelines."""

from itertools import product

import numpy as np
import pytest
import torch
import transformers

import minibert
from minibert.cli.main import main
from minibert.tasks.families import FAMILIES
from minibert.tasks.saved import KINDS, head_of, load_task, task_state, write_task
from minibert.tasks.task import new_model
from minibert.tasks.tokens import AGGREGATIONS
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.finetune import finetune, training_step
from minibert.training.settings import FinetuneSettings
from minibert.variants.table import TABLE
from minibert.weights.loading import load_weights, save_weights
from tests.parity.test_task_heads import EXAMPLES, LENGTH, theirs_of
from tests.parity.test_task_heads import WORDS as PIECES
from tests.tasks.conftest import SENTENCES, WORDS
from tests.variants.twins import CASES, SIZES, batch_for, inputs_of_twin, variant

LABELS = ["O", "B-PER", "I-PER"]
VARIANTS = [name for name in FAMILIES if name != "bert"]
TRAINED = ["distilbert", "roberta", "albert", "generator", "deberta"]  # each its own way


def fine_tuned(family: str, kind, folder, **sizes):
    """A model of transformers with trained-like numbers, written into a folder."""
    word = FAMILIES[family].word
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
@pytest.mark.parametrize("family", VARIANTS)
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
    (tmp_path / "again").mkdir()
    write_task(head, Tokenizer(WORDS), tmp_path / "again")
    again, report = type(theirs).from_pretrained(
        tmp_path / "again", output_loading_info=True, dtype=torch.float64
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    state = again.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in theirs.state_dict().items())


def test_every_variant_has_its_layers():
    assert set(FAMILIES) == set(TABLE)


def test_a_layer_that_cannot_be_read_is_a_warning(tmp_path):
    fine_tuned("electra", KINDS[0], tmp_path)
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace("ElectraForSequence", "BertForSequence"))
    with pytest.warns(UserWarning, match="classifier.out_proj: expected one of ElectraForSeq"):
        model, report = load_weights(tmp_path, architecture=TABLE["electra"])
        assert head_of(tmp_path, model.bert, report.ignored) is None


# ---- Training ----


def started(case: str, name: str):
    """A new model of a task on a variant with trained-like numbers, without dropout; examples."""
    kind, data, about = EXAMPLES[name]
    bert = variant(case, max_position_embeddings=24, type_vocab_size=2)[0].bert
    return new_model(kind, bert, dropout=0.0, seed=1, **about), data


@pytest.mark.parametrize(
    ("case", "name"),
    [*product(TRAINED, ["classes", "choices"]), ("distilbert", "tokens"), ("deberta", "questions")],
)
def test_steps_are_those_of_transformers(case, name):
    model, data = started(case, name)
    before = model.classifier.weight.detach().clone()
    values = model.bert.config.to_dict()
    labels = {"num_labels": len(model.classes)} if hasattr(model, "classes") else {}
    labels["problem_type"] = getattr(model, "problem_type", None)  # else DeBERTa's loss is float32
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values, **labels)
    config._attn_implementation = "eager"
    word = FAMILIES[CASES[case][0]]
    theirs = getattr(transformers, word.name(model.architecture))(config).double().train()
    theirs.load_state_dict(task_state(model))
    for module in theirs.modules():
        if isinstance(module, torch.nn.Dropout):  # some have a rate of their own in config.json
            module.p = 0.0
    tokenizer = Tokenizer(PIECES, model_max_length=24)
    settings = FinetuneSettings(clip=1.0)
    optimizers = [torch.optim.AdamW(each.parameters(), lr=1e-3) for each in (model.train(), theirs)]
    rows = model.rows(tokenizer, data, LENGTH)
    for at in range(0, 27, 9):
        batch = rows[at : at + 9]
        ours = training_step(model, optimizers[0], batch, tokenizer.pad_id, settings)
        loss = theirs(**inputs_of_twin(case, theirs_of(name, batch, tokenizer))).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizers[1].step()
        optimizers[1].zero_grad()
        assert abs(ours - loss.item()) < 1e-9
    assert not torch.equal(model.classifier.weight, before)
    state = task_state(model)
    for key, tensor in theirs.state_dict().items():
        assert (tensor - state[key]).abs().max() < 1e-9, key


def test_what_is_new_is_trained_on_a_frozen_variant():
    model, data = started("roberta", "classes")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    settings = FinetuneSettings(epochs=1, freeze=True, max_length=LENGTH, learning_rate=1e-2)
    finetune(model, Tokenizer(PIECES, model_max_length=24), data, settings)
    changed = {name for name, t in model.state_dict().items() if not torch.equal(t, before[name])}
    new = ("bert.pooler.dense", "classifier")
    assert changed == {f"{layer}.{leaf}" for layer in new for leaf in ("weight", "bias")}


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
def test_from_a_variant_to_answers_on_the_command_line(tmp_path, monkeypatch, capsys, pooling):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    model, kind = variant("distilbert", vocab_size=len(WORDS))
    save_weights(model.float(), tmp_path / "model", architecture=kind)
    Tokenizer(WORDS).save_vocabulary(tmp_path / "model")
    (tmp_path / "x.tsv").write_text("label\ttext\n" + "a\tthe river\nb\tin\n" * 4)
    command = "finetune x.tsv --dev x.tsv -m model -o out --epochs 2 --threads 1 --pooling"
    assert main([*command.split(), pooling]) == 0
    said = capsys.readouterr().out
    assert main(["evaluate", "out", "x.tsv"]) == 0
    accuracy = float(capsys.readouterr().out.split()[1])
    assert f"accuracy {accuracy:.4g}," in said
    head, tokenizer = load_task(tmp_path / "out")
    bert = minibert.load(tmp_path / "out")
    assert bert.head.pooling == pooling == head.pooling
    bert.save(tmp_path / "again")
    again = minibert.load(tmp_path / "again")
    assert again.classify("the river") == bert.classify("the river")


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
    tagger.save(tmp_path / "again")
    assert minibert.load(tmp_path / "again").tag(SENTENCES[0]) == tagger.tag(SENTENCES[0])
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
