"""The commands of training, one after the other, as a user runs them."""

import json

import pytest
import torch

import minibert
from minibert.cli.main import main
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKENS
from minibert.training.run_log import read_log
from minibert.training.start import lengthen
from tests.training.text_samples import TEXT

OPTIONS = ["--blocks", "1", "--hidden", "16", "--heads", "2", "--batch-size", "8", "--steps", "6"]
OPTIONS += ["--eval-every", "3", "--save-every", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A vocabulary, examples and a model, made by the commands."""
    folder = tmp_path_factory.mktemp("commands")
    (folder / "text.txt").write_text(TEXT)
    data = [
        "prepare",
        f"{folder}/text.txt",
        "--vocab",
        f"{folder}/vocab.txt",
        "-o",
        f"{folder}/data",
    ]
    assert (
        main(["train-vocab", f"{folder}/text.txt", "-o", f"{folder}/vocab.txt", "--size", "61"])
        == 0
    )
    assert main([*data, "--length", "16", "--held-out", "0.3"]) == 0
    assert main(["pretrain", f"{folder}/data", "-o", f"{folder}/run", *OPTIONS]) == 0
    return folder


def test_train_vocab(folder, capsys):
    tokens = (folder / "vocab.txt").read_text().splitlines()
    assert tokens[:5] == list(SPECIAL_TOKENS.values()) and len(tokens) == 61
    assert main(["train-vocab", f"{folder}/text.txt", "-o", f"{folder}/v.txt", "--size", "20"]) == 1
    assert "at least" in capsys.readouterr().err and not (folder / "v.txt").exists()
    assert main(["train-vocab", f"{folder}/none.txt", "-o", f"{folder}/v.txt"]) == 1
    assert "none.txt" in capsys.readouterr().err


@pytest.mark.filterwarnings("default")
def test_train_vocab_says_what_it_leaves_out(tmp_path, capsys):
    kanji = [chr(0x4E00 + number) for number in range(1500)]
    text = "".join(char * (2 if number < 1000 else 1) for number, char in enumerate(kanji))
    (tmp_path / "text.txt").write_text(text + " river river\n", encoding="utf-8")
    command = ["train-vocab", f"{tmp_path}/text.txt", "-o", f"{tmp_path}/vocab.txt"]
    assert main([*command, "--size", "1010"]) == 0
    said = capsys.readouterr().err
    tokenizer = Tokenizer.from_folder(tmp_path / "vocab.txt")
    unknown = tokenizer.ids(text + " river river").count(tokenizer.unk_id)
    left_out = sum(char not in tokenizer.vocab for char in {*text, *"river"})
    assert f"{left_out:,} of 1,504 different characters" in said and f"{unknown:,} of 2,502" in said
    assert "asked for" not in said
    assert all(line.startswith("minibert: ") for line in said.splitlines())
    assert main([*command, "--alphabet", "2000", "--size", "5000"]) == 0
    said = capsys.readouterr().err
    tokens = len(Tokenizer.from_folder(tmp_path / "vocab.txt"))
    assert f"5000 tokens were asked for, and {tokens} are all" in said and "left out" not in said


def test_prepare(folder, capsys):
    assert sorted(path.name for path in (folder / "data").iterdir()) == [
        "data.json",
        "heldout.bin",
        "tokenizer_config.json",
        "train.bin",
        "vocab.txt",
    ]
    words = [
        "prepare",
        f"{folder}/text.txt",
        "--vocab",
        f"{folder}/vocab.txt",
        "-o",
        f"{folder}/data",
    ]
    assert main(words) == 1
    assert "not an empty folder" in capsys.readouterr().err
    assert main([*words[:-1], f"{folder}/more", "--held-out", "0.3", "--mask-share", "0.4"]) == 0
    printed = capsys.readouterr().out
    assert "random next" in printed and "special chosen" in printed
    shares = json.loads((folder / "more" / "data.json").read_text())["statistics"]["train"]
    assert 0.3 < shares["chosen"] < 0.45


def test_pretrain(folder, capsys):
    assert (folder / "run" / "model" / "model.safetensors").exists()
    log = read_log(folder / "run" / "log.csv")
    assert log[-1]["step"] == 6 and "heldout_mlm_loss" in log[-1]
    other = [
        "pretrain",
        f"{folder}/data",
        "-o",
        f"{folder}/run",
        *OPTIONS,
        "--learning-rate",
        "0.01",
    ]
    assert main(other) == 1
    assert "of another run" in capsys.readouterr().err
    words = [
        "pretrain",
        f"{folder}/data",
        "-o",
        f"{folder}/more",
        "--steps",
        "2",
        "--batch-size",
        "4",
    ]
    assert main([*words, "--from", f"{folder}/run/model"]) == 0
    assert "after 2 steps" in capsys.readouterr().out
    assert main([*words, "--from", f"{folder}/more/model"]) == 1
    assert "of another run: start" in capsys.readouterr().err
    words[3] = f"{folder}/other"
    assert main([*words, "--from", "minibert-tiny"]) == 1
    assert "another vocabulary than the model's" in capsys.readouterr().err


def test_pretraining_goes_on_with_more_positions(folder, capsys):
    words = ["pretrain", f"{folder}/data", "-o", f"{folder}/longer", "--steps", "1"]
    words += ["--from", f"{folder}/run/model", "--positions"]
    assert main([*words, "12"]) == 1
    assert "takes 16 pieces already" in capsys.readouterr().err
    assert main([*words, "24"]) == 0
    assert minibert.load(folder / "longer" / "model").config.max_position_embeddings == 24


@pytest.mark.parametrize("option", ["--blocks 2", "--hidden 32", "--heads 2", "--dropout 0"])
def test_what_is_for_a_new_model_is_refused_for_a_given_one(folder, tmp_path, capsys, option):
    words = ["pretrain", f"{folder}/data", "-o", f"{tmp_path}/run", *option.split()]
    assert main([*words, "--from", f"{folder}/run/model"]) == 1
    assert f"{option.split()[0]} is for a new model" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_lengthened_model_gives_the_same_numbers_for_short_rows(folder):
    short = minibert.load(folder / "run" / "model").pretraining
    long = lengthen(short, 40)
    ids = torch.arange(5, 21)[None]
    with torch.no_grad():
        same = torch.testing.assert_close  # kernels may order their sums by the length of the table
        same(long(ids).prediction_logits, short(ids).prediction_logits)
        later = long(ids, position_ids=torch.arange(16, 32)[None])  # the table begins again
        same(later.seq_relationship_logits, short(ids).seq_relationship_logits)


def test_evaluate(folder, capsys):
    assert main(["evaluate", f"{folder}/run/model"]) == 1
    assert "give --data, --blimp, --sst2" in capsys.readouterr().err
    assert main(["evaluate", f"{folder}/run/model", "--data", f"{folder}/data", "--finetune"]) == 1
    assert "give --sst2 with it" in capsys.readouterr().err
    assert main(["evaluate", f"{folder}/run/model", "--data", f"{folder}/data"]) == 0
    assert "| held-out hidden words: accuracy |" in capsys.readouterr().out
    assert main(["evaluate", f"{folder}/run/model", "--data", f"{folder}/data", "--json"]) == 0
    assert 0 <= json.loads(capsys.readouterr().out)["words"]["accuracy"] <= 1


def test_evaluate_sentiment(folder, tmp_path, capsys):
    rows = "".join(f"{n % 2}\t{'aa' if n % 2 else 'cc'} done\n" for n in range(20))
    for name in ("train", "dev"):
        (tmp_path / f"{name}.tsv").write_text("label\ttext\n" + rows)
    words = ["evaluate", f"{folder}/run/model", "--sst2", f"{tmp_path}", "--texts", "16"]
    assert main([*words, "--seeds", "2", "--finetune", "--epochs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "SST-2, linear probe on 16 texts, 2 seeds" in printed
    assert "SST-2, fine-tuned for 2 epochs on 16 texts, 2 seeds" in printed


def test_curves(folder, tmp_path, capsys):
    words = ["pretrain", f"{folder}/data", "-o", f"{tmp_path}/run", *OPTIONS, "--curves"]
    assert main([*words, f"{tmp_path}/curves.png"]) == 1
    assert "ends in .svg or .html" in capsys.readouterr().err
    assert main([*words, f"{tmp_path}/none/curves.svg"]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())  # said before the training, not after
    assert main([*words, f"{tmp_path}/curves.svg"]) == 0
    last = read_log(tmp_path / "run" / "log.csv")[-1]["mlm_loss"]
    assert f"to {last:.3g}" in (tmp_path / "curves.svg").read_text()
