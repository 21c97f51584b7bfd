"""Classes, labels, numbers, ranking and zero-shot against transformers' pipelines; round trips of
every layer; tables, choices and measures."""

import json
import warnings

import numpy as np
import pytest
import torch
import transformers

import minibert
from minibert.tasks.by_name import TASKS
from minibert.tasks.choices import BertChooser, choose, read_choices
from minibert.tasks.classification import LABELS, NUMBER, ONE_CLASS, BertClassifier
from minibert.tasks.labelled import Labelled, read_labelled
from minibert.tasks.measures import class_scores, correlations, label_scores
from minibert.tasks.questions import BertReader
from minibert.tasks.saved import save_task
from minibert.tasks.task import batch_of, new_model
from minibert.tasks.tokens import BertTagger
from tests.parity.twins import trained_like
from tests.tasks.conftest import CONFIG, SENTENCES, model_of

NLI = ["contradiction", "neutral", "entailment"]
PAIRS = list(zip(SENTENCES[:12], SENTENCES[12:24]))


def saved(tmp_path, tokenizer, kind, **about):
    torch.manual_seed(0)
    model = model_of(kind, **about)
    save_task(model, tokenizer, tmp_path / "saved")
    return model, minibert.load(tmp_path / "saved"), str(tmp_path / "saved")


@pytest.mark.parametrize("problem_type", [ONE_CLASS, LABELS, NUMBER])
def test_classes_equal_the_pipelines(tokenizer, tmp_path, problem_type):
    classes = ["score"] if problem_type == NUMBER else NLI
    about = {"classes": classes, "problem_type": problem_type}
    _, bert, folder = saved(tmp_path, tokenizer, BertClassifier, **about)
    pipeline = transformers.pipeline("text-classification", model=folder, top_k=None)
    asked = [{"text": a, "text_pair": b} for a, b in PAIRS] + [{"text": t} for t in SENTENCES[:12]]
    expected = [[(c["label"], c["score"]) for c in pipeline(one)] for one in asked]
    ours = bert.classify(PAIRS) + bert.classify(SENTENCES[:12])
    for found, theirs in zip(ours, expected, strict=True):
        assert [c.label for c in found] == [label for label, _ in theirs]
        assert np.allclose([c.score for c in found], [s for _, s in theirs], rtol=0, atol=2e-6)
    assert bert.classify(*PAIRS[0])[0].label == ours[0][0].label


def test_numbers_begin_at_their_mean():
    data = Labelled(SENTENCES[:4], np.array([2.0, 3.0, 4.5, 2.5]), ["score"])
    about = TASKS["regression"].about(data)
    model = new_model(BertClassifier, trained_like(CONFIG).bert.float(), **about)
    assert model.classifier.bias.tolist() == [3.0]


@pytest.mark.parametrize("multi_label", [False, True])
def test_zero_shot_equals_the_pipeline(tokenizer, tmp_path, multi_label):
    _, bert, folder = saved(tmp_path, tokenizer, BertClassifier, classes=NLI)
    pipeline = transformers.pipeline("zero-shot-classification", model=folder)
    labels = ["rivers", "the sea", "war"]
    for text in SENTENCES[:4]:
        theirs = pipeline(text, candidate_labels=labels, multi_label=multi_label)
        ours = bert.zero_shot(text, labels, multi_label=multi_label)
        assert [c.label for c in ours] == theirs["labels"]
        assert np.allclose([c.score for c in ours], theirs["scores"], rtol=0, atol=2e-6)
    with pytest.raises(ValueError, match=r"a template with \{\}"):
        bert.zero_shot("a", labels, template="no place")


def test_ranking_is_the_order_of_the_scores(tokenizer, tmp_path):
    about = {"classes": ["score"], "problem_type": LABELS}
    model, bert, _ = saved(tmp_path, tokenizer, BertClassifier, **about)
    ranked = bert.rank("the river", SENTENCES[:9])
    by_hand = [bert.classify("the river", text)[0].score for text in SENTENCES[:9]]
    assert [one.number for one in ranked] == np.argsort(by_hand)[::-1].tolist()
    assert all(one.text == SENTENCES[one.number] for one in ranked)
    with pytest.raises(ValueError, match="expected classes named entailment"):
        bert.zero_shot("a", ["b"])


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        (BertClassifier, {"classes": NLI}),
        (BertTagger, {"classes": ["O", "B-X"]}),
        (BertReader, {"unanswerable": True}),
        (BertChooser, {"choices": 4}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_round_trip_with_transformers(tokenizer, tmp_path, kind, about):
    """What we save they load, whole; what they save we load, with the same scores."""
    model, bert, folder = saved(tmp_path, tokenizer, kind, **about)
    theirs, report = getattr(transformers, kind.architecture).from_pretrained(
        folder, output_loading_info=True
    )
    assert not any(report[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    theirs.save_pretrained(tmp_path / "theirs")
    tokenizer.save_vocabulary(tmp_path / "theirs")
    again = minibert.load(tmp_path / "theirs").head
    bert.save(tmp_path / "ours")
    third = minibert.load(tmp_path / "ours").head
    batch = batch_of(
        BertClassifier.rows(model, tokenizer, _texts(), 60), tokenizer.pad_id, model.device
    )
    with torch.no_grad():
        expected = model(**batch)
        for one in (bert.head, again, third):
            assert type(one) is kind and torch.equal(one(**batch), expected)
        shaped = {k: t[None] for k, t in batch.items()} if kind is BertChooser else batch
        output = theirs(**shaped)
        logits = output.logits if "logits" in output else torch.stack(output[:2], dim=-1)
        assert torch.allclose(logits.reshape(expected.shape), expected, rtol=0, atol=1e-5)
    if "classes" in about:
        assert again.classes == about["classes"] and theirs.config.id2label[1] == again.classes[1]
    if kind is BertReader:
        assert third.unanswerable and not again.unanswerable or again.unanswerable
    if kind is BertChooser:
        assert third.choices == 4


def _texts():
    return Labelled(SENTENCES[:3], None, [])


def test_without_the_layer_each_says_what_it_needs(tokenizer, tmp_path):
    bert = minibert.load("minibert-tiny")
    for call, architecture, task in (
        (lambda: bert.classify("a"), "BertForSequenceClassification", "classification"),
        (lambda: bert.rank("a", ["b"]), "BertForSequenceClassification", "classification"),
        (lambda: bert.tag("a"), "BertForTokenClassification", "tokens"),
        (lambda: bert.answer("a", "b"), "BertForQuestionAnswering", "questions"),
        (lambda: bert.choose("a", ["b", "c"]), "BertForMultipleChoice", "choices"),
    ):
        with pytest.raises(ValueError, match=f"has no task's layer.* needs a {architecture}.*"
                                             f"--task {task} -m minibert-tiny"):  # fmt: skip
            call()
    _, tagger, _ = saved(tmp_path, tokenizer, BertTagger, classes=["O", "B-X"])
    with pytest.raises(ValueError, match="has that of a BertForTokenClassification; for classes"):
        tagger.classify("a")


def test_a_layer_that_does_not_fit_is_left_out_with_a_warning(tokenizer, tmp_path):
    saved(tmp_path, tokenizer, BertClassifier, classes=NLI)
    path = tmp_path / "saved" / "config.json"
    config = json.loads(path.read_text())
    del config["id2label"]["2"]
    path.write_text(json.dumps(config))
    with pytest.warns(UserWarning, match=r"layer of a task is left out: .*shape \(3, 20\)"):
        assert minibert.load(tmp_path / "saved").head is None


def test_choosing(tokenizer, tmp_path):
    _, bert, _ = saved(tmp_path, tokenizer, BertChooser, choices=3)
    chosen = bert.choose("the river was", ["in", "a river of the", "on"])
    assert sum(one.probability for one in chosen) == pytest.approx(1)
    assert chosen[0].probability >= chosen[1].probability
    assert bert.choose("the river was", iter(["in", "a river of the", "on"])) == chosen
    with pytest.warns(UserWarning, match="among 3, and an example has 4"):
        bert.choose("a", ["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="two options or more"):
        bert.choose("a", ["b"])


def test_what_is_no_text_is_refused_before_it_is_read_letter_by_letter(tokenizer, tmp_path):
    _, chooser, _ = saved(tmp_path, tokenizer, BertChooser, choices=2)
    for call, message in (
        (lambda: chooser.choose("a", "bc"), "a list of texts, got str: 'bc'"),
        (lambda: chooser.choose("a", ["b", 3]), "one text .* got int: 3"),
        (lambda: chooser.rank("a", "bc"), "a list of texts, got str"),
        (lambda: chooser.zero_shot("a", "bc"), "a list of texts, got str"),
        (lambda: chooser.answer("who?", 3), "one text .* got int: 3"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    for kind in (BertClassifier, BertTagger):
        (tmp_path / kind.__name__).mkdir()
        _, bert, _ = saved(tmp_path / kind.__name__, tokenizer, kind, classes=["O", "B-X"])
        with pytest.raises(TypeError, match="a list of texts, got int: 3"):
            (bert.tag if kind is BertTagger else bert.classify)(3)


# ---- Files ----


def test_a_text_that_is_cut_is_never_cut_in_silence(tokenizer, tmp_path):
    _, bert, _ = saved(tmp_path, tokenizer, BertClassifier, classes=NLI)
    limit = bert.config.max_position_embeddings
    word = next(w for w in SENTENCES[0].split() if len(bert.tokenizer.ids(w)) == 1)
    fits, longer = " ".join([word] * (limit - 2)), " ".join([word] * (limit - 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bert.classify([fits, word])
        bert.zero_shot(" ".join([word] * 5), [word, "x"])
    said = f"1 of 2 texts are longer than {limit} tokens and were cut there"
    with pytest.warns(UserWarning, match=said) as caught:
        bert.classify([longer, fits])
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="1 of 1 texts are longer"):
        bert.classify(fits, word)
    chooser = BertChooser(bert.model, 2).eval()
    with pytest.warns(UserWarning, match="1 of 1 texts are longer"):
        choose(chooser, bert.tokenizer, word, [word, fits])


def test_tables_of_pairs_labels_and_numbers(tmp_path):
    (tmp_path / "a.csv").write_text('"A ""big"" one, here",b,5.0\nc,d,0.25\n')
    numbers = read_labelled(tmp_path / "a.csv", columns=["3", "1", "2"], kind=NUMBER)
    assert numbers.texts == [('A "big" one, here', "b"), ("c", "d")]
    assert numbers.labels.tolist() == [5.0, 0.25] and numbers.classes == ["score"]
    (tmp_path / "b.tsv").write_text("x\t1\t\tone\ny\t0\t*\ttwo\n")
    cola = read_labelled(tmp_path / "b.tsv", columns=["2", "4"])
    assert cola.texts == ["one", "two"] and cola.labels.tolist() == [1, 0]
    lines = [{"label": ["a", "b"], "text": "x"}, {"label": [], "text": "y", "other": 1}]
    (tmp_path / "c.jsonl").write_text("\n".join(map(json.dumps, lines)))
    several = read_labelled(tmp_path / "c.jsonl", kind=LABELS)
    assert several.labels.tolist() == [[1, 1], [0, 0]] and several.classes == ["a", "b"]
    (tmp_path / "d.tsv").write_text("Quality\tid\tone\ttwo\n1\t7\tx\ty\n")
    mrpc = read_labelled(tmp_path / "d.tsv", columns=["Quality", "one", "two"])
    assert mrpc.texts == [("x", "y")]


@pytest.mark.parametrize(
    ("name", "content", "options", "message"),
    [
        (
            "a.csv",
            "a,b,x\n",
            {"columns": ["3", "1", "2"], "kind": NUMBER},
            "line 1: expected a num",
        ),
        ("a.csv", "a,b,nan\n", {"columns": ["3", "1", "2"], "kind": NUMBER}, "expected a number"),
        ("a.csv", 'label,text\n1,"a\n', {}, "line 2"),
        ("a.tsv", "a\tb\n", {"columns": ["1", "3"]}, "line 1: expected 3 or more columns, got 2"),
        ("a.tsv", "a\tb\nx\ty\n", {"columns": ["c", "b"]}, "a column 'c', got the columns 'a, b'"),
        ("a.jsonl", '{"text": "a"}\n', {}, "line 1: expected an object with label and text"),
        ("a.jsonl", '{"label": 1, "text": "a"}\n[1]\n', {}, "line 2: expected a JSON object"),
        ("a.jsonl", '{"label": 1, "text": 3}\n', {}, "none of them empty"),
        ("a.jsonl", '{"label": {}, "text": "a"}\n', {}, "expected one label"),
        ("a.jsonl", "{\n", {}, "line 1: expected a JSON object"),
    ],
)
def test_tables_that_are_wrong_name_the_line(tmp_path, name, content, options, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_labelled(tmp_path / name, **options)


def test_swags_files(tmp_path):
    path = tmp_path / "x.csv"
    header = "id,sent1,sent2,ending0,ending1,label\n"
    path.write_text(header + '1,"He came, then",he,sat.,ran.,1\n')
    [example] = read_choices(path)
    assert example == ("He came, then", ["he sat.", "he ran."], 1)
    for content, message in (
        (header + "1,a,b,c,d,2\n", "line 2: expected a text, two options or more"),
        (header + "1,a,b,c,d,x\n", "line 2"),
        ("sent1,label\na,1\n", "line 1: expected the columns"),
        (header, "at least one example"),
    ):
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            read_choices(path)
    lines = tmp_path / "x.jsonl"
    lines.write_text('{"text": "a", "options": ["b", "c"], "label": 0}\n{"text": "a"}\n')
    with pytest.raises(ValueError, match="line 2: expected a text, two options"):
        read_choices(lines)


# ---- Measures ----


def test_measures_are_scikit_learns_and_scipys():
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    for classes in (2, 4):
        truth, said = rng.integers(classes, size=(2, 200))
        ours = class_scores(said, truth, classes)
        assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))
        assert ours["matthews"] == pytest.approx(metrics.matthews_corrcoef(truth, said))
        average = "binary" if classes == 2 else "macro"
        assert ours["f1"] == pytest.approx(metrics.f1_score(truth, said, average=average))
        assert all(type(value) is float for value in ours.values()), "as a checkpoint keeps them"
    table, other = rng.integers(2, size=(2, 50, 3)).astype(bool)
    assert all(type(value) is float for value in label_scores(table, other).values())
    assert label_scores(table, other)["f1"] == pytest.approx(
        metrics.f1_score(other, table, average="micro")
    )
    a = rng.integers(6, size=80)  # with ties
    b = a + rng.normal(size=80)
    ours = correlations(b, a)
    assert ours["pearson"] == pytest.approx(stats.pearsonr(a, b).statistic)
    assert ours["spearman"] == pytest.approx(stats.spearmanr(a, b).statistic)
    assert (
        class_scores([1, 1], [0, 1], 2)["matthews"] == 0 == correlations([1, 1], [0, 1])["pearson"]
    )


# ---- Fill-mask with targets ----


def test_targets_are_the_pipelines(tmp_path):
    bert = minibert.load("minibert-tiny")
    bert.save(tmp_path / "tiny")
    pipeline = transformers.pipeline("fill-mask", model=str(tmp_path / "tiny"))
    text, words = "The river ran to the [MASK].", ["sea", "king", "house"]
    ours = bert.fill_mask(text, targets=words)[0]
    theirs = pipeline(text, targets=words)
    assert [p.token for p in ours] == [one["token_str"] for one in theirs]
    scores = [p.probability for p in ours], [one["score"] for one in theirs]
    assert np.allclose(*scores, rtol=0, atol=1e-6)
    with pytest.warns(UserWarning, match="'seahorsey' is not in the vocabulary.*'sea' is taken"):
        assert bert.fill_mask(text, targets=["seahorsey"])[0][0].token == "sea"
    with pytest.raises(ValueError, match="and no piece of it"):
        bert.fill_mask(text, targets=["\x00"])
    with pytest.raises(ValueError, match="at least one target"):
        bert.fill_mask(text, targets=[])
