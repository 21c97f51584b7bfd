"""The examples: their shares, their proofs, and the known mistakes that a test must notice."""

import json
import math
import random

import numpy as np
import pytest
import torch

from minibert.core.checks import IGNORE
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.training.batches import Examples, rows_of_step
from minibert.training.corpus import Corpus, build_corpus, read_documents, split_sentences
from minibert.training.masking import Masker
from minibert.training.prepare import prepare
from minibert.training.rows import (
    count_rows,
    example_type,
    make_row,
    make_rows,
    shares,
    tasks_of,
)
from minibert.training.segments import segment_pairs, shorten
from minibert.training.settings import DataSettings
from minibert.training.wordpiece_trainer import count_words, train_vocabulary
from tests.conftest import shared
from tests.training.text_samples import DOCUMENTS, TEXT, read_start


def make_examples(corpus, tokenizer, settings):
    return [make_rows(corpus, tokenizer, settings, task) for task in tasks_of(corpus, settings)]


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(train_vocabulary(count_words(TEXT.split("\n")), 90))


@pytest.fixture(scope="module")
def real():
    """A million pieces of Wikipedia as examples, with the corpus they were made from."""
    lines = read_start(shared("pretraining/enwiki.txt.xz"), 4_600_000)
    tokenizer = Tokenizer(train_vocabulary(count_words(lines[:4000]), 4000))
    corpus = build_corpus(read_documents(lines), tokenizer)
    settings = DataSettings(length=64)
    rows = np.concatenate(make_examples(corpus, tokenizer, settings))
    return corpus, tokenizer, settings, rows


def spread(share, count):
    """Four standard deviations of a share of `count` independent draws."""
    return 4 * math.sqrt(share * (1 - share) / count)


def test_the_shares_over_a_million_pieces(real):
    _, tokenizer, _, rows = real
    found = shares(count_rows(rows, tokenizer), tokenizer)
    chosen = round(found["chosen"] * found["num_tokens"])
    assert found["num_tokens"] > 1_000_000
    # 15 % of 61 pieces is 9.15, of which 9 are taken
    assert 9 / 61 - 0.002 < found["chosen"] < 0.15 + 0.001
    for name, share in (("masked", 0.8), ("other", 0.1), ("same", 0.1)):
        assert abs(found[f"chosen_{name}"] - share) < spread(share, chosen), name
    assert abs(found["random_next"] - 0.5) < spread(0.5, found["rows"])
    assert 0.88 < found["full_rows"] < 0.92
    assert found["special_chosen"] == 0
    assert found["random_from_same_document"] == found["next_from_other_document"] == 0


def test_chosen_places_are_everywhere_alike(real):
    """No place of a full row is favoured, [CLS] and [SEP] aside."""
    _, tokenizer, settings, rows = real
    full = rows[rows["num_tokens"] == settings.length]
    places = full["places"][np.arange(full["places"].shape[1]) < full["chosen"][:, None]]
    counts = np.bincount(places, minlength=settings.length)
    free = np.ones(settings.length) * len(full)
    free[0] = free[-1] = 0
    free -= np.bincount(full["second"] - 1, minlength=settings.length)
    rate = counts[free > 0] / free[free > 0]
    assert counts[0] == counts[-1] == 0
    share = 9 / 61
    assert np.abs(rate - share).max() < 1.3 * spread(share, len(full)), "some places are favoured"


def test_rows_can_be_undone(real):
    """With the labels put back, a row is [CLS] A [SEP] B [SEP] of the corpus, letter by letter."""
    corpus, tokenizer, _, rows = real
    text = {}
    for document, (start, end) in enumerate(zip(corpus.documents, corpus.documents[1:])):
        text[document] = " ".join(map(str, corpus.read(start, end))) + " "
    for row in rows[:: len(rows) // 300]:
        ids = row["ids"].astype(int)
        places = row["places"][: row["chosen"]]
        assert (np.diff(places) > 0).all()
        ids[places] = row["labels"][: row["chosen"]]
        pieces, second = row["num_tokens"], row["second"]
        assert (ids[pieces:] == tokenizer.pad_id).all()
        ends = {0: tokenizer.cls_id, second - 1: tokenizer.sep_id, pieces - 1: tokenizer.sep_id}
        assert all(ids[place] == number for place, number in ends.items())
        first, after = ids[1 : second - 1], ids[second : pieces - 1]
        for part, document in zip((first, after), row["documents"]):
            assert len(part) and " ".join(map(str, part)) + " " in text[document]
        assert row["is_random"] == (row["documents"][0] != row["documents"][1])


def test_a_real_next_follows_at_once(tokenizer):
    """B begins where A ends, unless a piece was cut off there."""
    corpus = build_corpus(DOCUMENTS, tokenizer)
    rng = random.Random(0)
    seen = 0
    for document in range(len(DOCUMENTS)):
        start, end = corpus.documents[document], corpus.documents[document + 1]
        whole = corpus.read(start, end)
        for first, second, documents in segment_pairs(corpus, document, 500, 0.0, rng):
            if documents[0] == documents[1]:
                both = first + second
                assert any(whole[at : at + len(both)] == both for at in range(len(whole)))
                seen += 1
    assert seen


def test_random_next_comes_from_all_other_documents(tokenizer):
    """Never from the same one, and from all others alike; one with a single sentence as well."""
    corpus = build_corpus([*DOCUMENTS, [["x."] * 1][0]], tokenizer)
    rng = random.Random(0)
    counts = np.zeros(len(DOCUMENTS) + 1)
    for _ in range(400):
        for pair in segment_pairs(corpus, 3, 30, 0.1, rng):
            if pair.documents[1] != 3:
                counts[pair.documents[1]] += 1
    assert counts[3] == 0
    others = np.delete(counts, 3)
    assert np.abs(others / others.sum() - 1 / 8).max() < spread(1 / 8, others.sum())


def test_documents_of_two_sentences_are_still_fair():
    """With one sentence in a chunk, a real next would be impossible; so there are always two."""
    tokenizer = Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "."])
    corpus = build_corpus([["a a a a a a a a a. B b b b."]] * 4000, tokenizer)
    rows = np.concatenate(make_examples(corpus, tokenizer, DataSettings(length=12)))
    share = rows["is_random"].mean()
    assert len(rows) == 4000
    assert abs(share - 0.5) < spread(0.5, len(rows))


def test_one_document_is_refused(tokenizer):
    corpus = build_corpus(DOCUMENTS[:1], tokenizer)
    with pytest.raises(ValueError, match="at least 2 documents.*got 1"):
        make_examples(corpus, tokenizer, DataSettings())


def test_whole_words_are_hidden_as_one(real):
    corpus, tokenizer, _, _ = real
    settings = DataSettings(length=64, whole_words=True)
    masker = Masker(tokenizer, settings.mask_share, settings.whole_words)
    kind = example_type(settings, tokenizer.vocab_size)
    rng = random.Random(0)
    hidden = partly = pieces = 0
    for segments in segment_pairs(corpus, 0, 61, 0.1, rng):
        row = make_row(segments, tokenizer, masker, kind, rng)
        ids = row["ids"].astype(int)
        chosen = set(row["places"][: row["chosen"]].tolist())
        for place in chosen:
            ids[place] = row["labels"][sorted(chosen).index(place)]
        tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
        words = []
        for place, token in enumerate(tokens[: row["num_tokens"]]):
            if token.startswith("##") and tokens[place - 1][0] != "[":
                words[-1].add(place)
            else:
                words.append({place})
        for word in words:
            hidden += word <= chosen
            partly += bool(word & chosen) and not word <= chosen
        pieces += len(chosen)
    assert hidden > 20 and partly == 0
    assert pieces > hidden, "no word of several pieces was hidden"


def test_short_rows_are_as_many_as_asked_for(real):
    corpus, tokenizer, settings, _ = real
    few = Corpus(corpus.pieces, corpus.sentences, corpus.documents[:60])
    for share in (0.0, 0.5):
        made = make_examples(few, tokenizer, DataSettings(length=64, short_share=share))
        lengths = np.concatenate(made)["num_tokens"]
        short = (lengths < 60).mean()
        assert abs(short - share * 55 / 60) < 0.05
        if share:
            assert lengths.min() < 10


def test_nothing_is_drawn_that_is_not_a_word(tokenizer):
    """Special tokens are neither chosen nor put in place of a word, and [UNK] is not learned."""
    settings = DataSettings(length=64, mask_share=0.9)
    masker = Masker(tokenizer, settings.mask_share, settings.whole_words)
    assert not set(masker.ordinary) & tokenizer.special_ids
    rng = random.Random(0)
    for _ in range(300):
        ids = [
            tokenizer.cls_id,
            9,
            10,
            tokenizer.unk_id,
            11,
            tokenizer.sep_id,
            12,
            tokenizer.sep_id,
        ]
        before = list(ids)
        places, labels = masker.hide(ids, rng)
        assert set(places) <= {1, 2, 4, 6} and labels == [before[place] for place in places]
        for place in places:
            assert ids[place] not in tokenizer.special_ids - {tokenizer.mask_id}
        assert all(ids[p] == before[p] for p in range(8) if p not in places)


def test_special_tokens_typed_in_a_text_are_left_out(tokenizer):
    corpus = build_corpus([["aa [MASK] bb [SEP]. [CLS] cc."]], tokenizer)
    assert not set(corpus.pieces) & (tokenizer.special_ids - {tokenizer.unk_id})


def test_more_processes_write_the_same_folder(tokenizer, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n\n".join("\n".join(document) for document in DOCUMENTS * 9))
    settings = DataSettings(length=16, duplicates=2)
    for processes in (1, 3):
        prepare([text], tokenizer, tmp_path / str(processes), settings, processes=processes)
    for file in sorted((tmp_path / "1").iterdir()):
        assert file.read_bytes() == (tmp_path / "3" / file.name).read_bytes(), file.name
    assert {path.suffix for path in (tmp_path / "1").iterdir()} <= {".bin", ".json", ".txt"}


def test_no_process_is_refused(tokenizer, tmp_path):
    with pytest.raises(ValueError, match="processes must be at least 1, got 0"):
        prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "data", processes=0)


def test_the_same_seed_gives_the_same_rows(tokenizer):
    corpus = build_corpus(DOCUMENTS, tokenizer)

    def rows(seed, duplicates=1):
        settings = DataSettings(length=16, seed=seed, duplicates=duplicates)
        return np.concatenate(make_examples(corpus, tokenizer, settings))

    assert rows(1).tobytes() == rows(1).tobytes() != rows(2).tobytes()
    twice = rows(1, duplicates=2)
    assert len(twice) > 1.7 * len(rows(1))
    assert twice[: len(rows(1))].tobytes() == rows(1).tobytes()
    assert twice[len(rows(1)) :][:10].tobytes() != rows(1)[:10].tobytes(), "hidden anew each time"


def test_shorten_takes_from_both_ends():
    rng = random.Random(0)
    starts = set()
    for _ in range(50):
        first, second = list(range(10)), list(range(100, 110))
        shorten(first, second, 12, rng)
        assert len(first) == len(second) == 6
        assert first == list(range(first[0], first[0] + 6))
        starts.add(first[0])
    assert starts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("paragraph", "count"),
    [
        ("One. Two! Three? Four", 4),
        ("Mr. J. Smith met Dr. Jones in St. Paul.", 1),
        ('"Go!" he said. "No." She stayed.', 3),
        ("It cost 3.50 dollars at 5 p.m. exactly.", 1),
        ("Sie kam. Ärzte halfen. Он ушёл. «Да.»", 4),
        ("他来了。她走了！“真的？”我问。", 4),
        ("  ", 0),
    ],
)
def test_split_sentences(paragraph, count):
    sentences = split_sentences(paragraph)
    assert len(sentences) == count
    assert "".join(sentences).replace(" ", "") == paragraph.replace(" ", "")


# ---- On disk, and as batches ----


@pytest.fixture
def folder(tmp_path, tokenizer):
    (tmp_path / "text.txt").write_text(TEXT)
    settings = DataSettings(length=24, held_out=0.3)
    statistics = prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "data", settings)
    assert set(statistics) == {"train", "heldout"}
    return tmp_path / "data"


def test_held_out_documents_are_not_trained_on(folder, tokenizer):
    letters = {}
    for part in ("train", "heldout"):
        rows = Examples(folder, part).rows
        words = tokenizer.convert_ids_to_tokens(sorted(set(rows["labels"].ravel().tolist())))
        letters[part] = {w[0] for w in words if len(w) == 2 and w[0] == w[1]}
    assert len(letters["heldout"]) == 2 and len(letters["train"]) == 6
    assert not letters["train"] & letters["heldout"]


def test_a_batch_is_its_rows(folder, tokenizer):
    examples = Examples(folder)
    numbers = np.arange(min(40, len(examples)))
    batch = examples.batch(numbers)
    rows = examples.rows[numbers]
    assert batch["input_ids"].shape[1] == rows["num_tokens"].max()
    for n, row in enumerate(rows):
        pieces, second = int(row["num_tokens"]), int(row["second"])
        ids = batch["input_ids"][n].tolist()
        assert ids[:pieces] == row["ids"][:pieces].tolist()
        assert batch["attention_mask"][n].tolist() == [1] * pieces + [0] * (len(ids) - pieces)
        expected = [0] * second + [1] * (pieces - second) + [0] * (len(ids) - pieces)
        assert batch["token_type_ids"][n].tolist() == expected
        labels = {p: v for p, v in enumerate(batch["labels"][n].tolist()) if v != IGNORE}
        chosen = int(row["chosen"])
        assert labels == dict(zip(row["places"][:chosen].tolist(), row["labels"][:chosen].tolist()))
        assert int(batch["next_sentence_label"][n]) == row["is_random"]


def test_labels_stand_at_chosen_places_alone(folder, tokenizer):
    """Loss over all places, over padding or over special tokens would show here."""
    batch = Examples(folder).batch(np.arange(40))
    labelled = batch["labels"] != IGNORE
    share = labelled.sum() / batch["attention_mask"].sum()
    assert 0.08 < share < 0.2
    assert not (labelled & (batch["attention_mask"] == 0)).any()
    special = torch.tensor(sorted(tokenizer.special_ids))
    assert not torch.isin(batch["labels"][labelled], special).any()
    plain = batch["input_ids"][labelled]
    assert (plain == tokenizer.mask_id).any()


def test_the_folder_opens_as_a_tokenizer(folder, tokenizer):
    assert Tokenizer.from_folder(folder).vocab == tokenizer.vocab
    about = json.loads((folder / "data.json").read_text())
    assert about["files"] == ["text.txt"]
    assert DataSettings(**about["settings"]).length == 24


def test_a_damaged_folder_is_refused(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="minibert prepare"):
        Examples(tmp_path)
    (folder / "train.bin").write_bytes((folder / "train.bin").read_bytes()[:-5])
    with pytest.raises(ValueError, match="train.bin is damaged"):
        Examples(folder)
    for content in ("{}", "[", '{"settings": {}, "vocab_size": 61, "statistics": [1]}'):
        (folder / "data.json").write_text(content)
        with pytest.raises(ValueError, match="data.json is not as expected.*minibert prepare"):
            Examples(folder)


def test_a_failed_prepare_leaves_no_folder(tmp_path, tokenizer):
    (tmp_path / "text.txt").write_text("one. Two.\n")
    with pytest.raises(ValueError, match="at least 2 documents"):
        prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "data", DataSettings(held_out=0))
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_too_few_documents_beside_those_held_out(tmp_path, tokenizer):
    (tmp_path / "text.txt").write_text("\n\n".join("\n".join(d) for d in DOCUMENTS[:3]))
    with pytest.raises(ValueError, match="got 3, of which 2 are held out"):
        prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "data")


def test_a_vocabulary_that_cannot_spell_the_text(tmp_path, tokenizer):
    (tmp_path / "text.txt").write_text("河。 银行。\n\n水。 鱼。\n", encoding="utf-8")
    files, settings = [tmp_path / "text.txt"], DataSettings(held_out=0)
    with pytest.raises(ValueError, match=r"all pieces of the text are \[UNK\]"):
        prepare(files, tokenizer, tmp_path / "data", settings)
    with pytest.raises(ValueError, match=r"lacks \[MASK\]"):
        prepare(files, Tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]), tmp_path / "data", settings)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_documents_of_one_sentence_give_no_example(tmp_path, tokenizer):
    (tmp_path / "text.txt").write_text("aa bb\n\ncc dd\n\nee ff\n")
    with pytest.raises(ValueError, match="give no example: expected documents of two sentences"):
        prepare([tmp_path / "text.txt"], tokenizer, tmp_path / "data", DataSettings(held_out=0))


def test_every_pass_reads_every_row_once():
    size, count = 4, 10
    rows = np.concatenate([rows_of_step(step, size, count, 7) for step in range(5)])
    first, second = rows[:10], rows[10:]
    assert sorted(first) == sorted(second) == list(range(10))
    assert first.tolist() != second.tolist()
    assert rows_of_step(3, size, count, 7).tolist() == rows[12:16].tolist()
    assert rows_of_step(3, size, count, 8).tolist() != rows[12:16].tolist()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"length": 4}, "length must be at least 8"),
        ({"duplicates": 0}, "duplicates must be at least 1"),
        ({"mask_share": 1.5}, "mask_share must lie"),
        ({"held_out": 1.0}, "held_out must lie"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        DataSettings(**setting)
