"""Models known by name: the bundled one, and what is known of repositories on the hub."""

from dataclasses import dataclass
from pathlib import Path

BUNDLED_NAME = "minibert-tiny"
SENTENCE_NAME = "minibert-tiny-sentences"  # in the box beside it, for vectors of sentences
BUNDLED_FOLDER = Path(__file__).resolve().parents[1] / "bundled" / BUNDLED_NAME

SUGGESTIONS = (
    "google-bert/bert-base-uncased",
    "google-bert/bert-base-cased",
    "google-bert/bert-large-uncased",
    "google-bert/bert-base-multilingual-cased",
    "sentence-transformers/all-MiniLM-L6-v2",
)

OWNER = "google-bert"  # its repositories had no owner in their names until 2024
ALIASES = {"bert-base-uncased": f"{OWNER}/bert-base-uncased"}


@dataclass(frozen=True)
class Pin:
    """One commit of a repository: the files that are fetched from it, and the sha256 of each."""

    revision: str
    sha256: dict[str, str]


PINNED = {
    "google-bert/bert-base-uncased": Pin(
        "86b5e0934494bd15c9632b12f734a8a67f723594",
        {
            "config.json": "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            "tokenizer.json": "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98",
            "tokenizer_config.json": (
                "a025160ef0431f1a392f6f050c1310f4c5d9fb6f275932dbccba73c4d214bf10"
            ),
            "model.safetensors": "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3",
        },
    )
}
