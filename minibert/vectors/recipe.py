"""How a model's sentence vectors are meant to be made: sentence-transformers' small files.

A folder of sentence-transformers says in `modules.json` what its vectors were trained for: which
pooling, of unit length or not, how many tokens, which prompts, how to compare. That is the default
for that model. A folder without these files gets the plain mean.

Source: the files that https://github.com/huggingface/sentence-transformers writes.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minibert.system.files import Kinds, check_kinds, read_json, write_json
from minibert.vectors.nearest import SIMILARITIES
from minibert.vectors.pooling import pools_of
from minibert.weights.files import beside, model_folder, read_modules

MODULES = "sentence_transformers.models"

# Our name -> theirs, in the order in which they put several side by side.
WRITTEN = {
    "cls": "cls_token",
    "max": "max_tokens",
    "mean": "mean_tokens",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean": "weightedmean_tokens",
    "last": "lasttoken",
}
LISTED = {"last": "lasttoken"}  # their names in the list `pooling_mode`, where not ours
# What they may write -> our name; "pooler" is not theirs, and refused by them.
SAME = ("cls", "max", "mean", "weightedmean", "pooler")
MODES = {theirs: ours for ours, theirs in WRITTEN.items()} | {name: name for name in SAME}

# What the files may say; null says nothing.
KINDS: list[Kinds] = [
    ("true or false", (bool,), ("do_lower_case", "include_prompt")),
    ("a whole number", (int,), ("max_seq_length", "truncate_dim")),
    ("a string", (str,), ("default_prompt_name", "similarity_fn_name")),
    ("an object", (dict,), ("prompts",)),
]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model's sentence vectors are made."""

    pooling: str = "mean"  # names of `pooling.POOLINGS`; joined by "+" they stand side by side
    normalize: bool = False  # vectors of length 1
    max_length: int | None = None  # tokens that are read of a text, [CLS] and [SEP] included
    lower: bool = False  # the text is put in lower case before the tokenizer sees it
    prompt: str = ""  # words put before every text
    include_prompt: bool = True  # its tokens count in the vector, and [CLS] before them
    truncate_dim: int | None = None  # numbers of a vector that are kept; None: all
    similarity: str = "cosine"  # how two vectors are compared: a name of `nearest.SIMILARITIES`
    # Name -> words, for `prompt_name`.
    prompts: Mapping[str, str] = dataclasses.field(default_factory=dict, compare=False)
    renormalize: bool = False  # of length 1 again once they are cut: a caller's wish, not saved

    def prompt_of(self, prompt: str | None, prompt_name: str | None) -> str:
        """The words before a text: those given, those of that name, or the recipe's own.

        >>> Recipe(prompts={"query": "query: "}).prompt_of(None, "query")
        'query: '
        """
        if prompt is not None and prompt_name is not None:
            raise ValueError("expected a prompt or a prompt_name, got both: leave one out")
        if prompt_name is None:
            return self.prompt if prompt is None else prompt
        prompts = {"query": "", "document": "", **self.prompts}  # as sentence-transformers has it
        if prompt_name not in prompts:
            raise ValueError(
                f"this model has no prompt {prompt_name!r}: its prompts are {', '.join(prompts)}. "
                f"Give the words themselves as prompt"
            )
        return prompts[prompt_name]

    @classmethod
    def from_folder(cls, folder: Path) -> "Recipe":
        """Read sentence-transformers' files; the plain recipe where there are none.

        Raises ValueError for modules that minibert does not compute.
        """
        if not (folder / "modules.json").is_file():
            return cls()
        pooling, normalize, include_prompt = "none", False, True
        for module in read_modules(folder):
            library, _, kind = str(module.get("type")).rpartition(".")
            if library and not library.startswith("sentence_transformers."):
                kind = f"{kind} of {library}"  # code of the model's own
            if kind == "Pooling":
                place = beside(folder, module.get("path", "1_Pooling"), "modules.json")
                config = _read(place / "config.json")
                pooling = _pooling(config, place)
                include_prompt = config.get("include_prompt", True)
            elif kind == "Normalize":
                normalize = True
            elif kind not in ("Transformer", "BERT", "Dropout"):  # Dropout is for training
                raise ValueError(
                    f"{folder}/modules.json asks for {kind}, which minibert does not compute: "
                    f"its vectors would not be those of this model"
                )
        place = model_folder(folder)
        older = sorted(place.glob("sentence_*_config.json"))  # "bert" was the kind of the model
        settings = _settings(place / "sentence_bert_config.json", *older)
        whole = _settings(folder / "config_sentence_transformers.json")
        similarity = whole.get("similarity_fn_name") or "cosine"
        if similarity not in SIMILARITIES:
            raise ValueError(
                f"{folder}/config_sentence_transformers.json asks for the similarity "
                f"{similarity!r}, expected one of {', '.join(SIMILARITIES)}"
            )
        prompts = {name: text or "" for name, text in (whole.get("prompts") or {}).items()}
        default = whole.get("default_prompt_name")
        if default not in {None, "query", "document", *prompts}:
            raise ValueError(
                f"{folder}/config_sentence_transformers.json names {default!r} as its prompt, "
                f"expected one of {', '.join(prompts) or 'its prompts, and it has none'}"
            )
        return cls(
            pooling,
            normalize,
            settings.get("max_seq_length"),
            bool(settings.get("do_lower_case", False)),
            prompts.get(default, ""),
            include_prompt,
            whole.get("truncate_dim"),
            similarity,
            prompts,
        )

    def save(self, folder: Path, hidden_size: int) -> None:
        """Write sentence-transformers' files for this recipe into `folder`.

        They read them all, but for the pooling "pooler", which they refuse.
        """
        chosen = pools_of(self.pooling)
        kinds = ["Transformer"]
        if chosen:
            kinds.append("Pooling")
        if self.normalize:
            kinds.append("Normalize")
        modules = [
            {
                "idx": i,
                "name": str(i),
                "path": f"{i}_{kind}" if i else "",
                "type": f"{MODULES}.{kind}",
            }
            for i, kind in enumerate(kinds)
        ]
        modes: dict[str, Any] = {
            f"pooling_mode_{theirs}": ours in chosen for ours, theirs in WRITTEN.items()
        }
        if list(chosen) != [ours for ours in WRITTEN if ours in chosen]:
            # Older versions join pools in a fixed order. Any other order needs the `pooling_mode`
            # list of version 5.4.
            modes = {"pooling_mode": [LISTED.get(ours, ours) for ours in chosen]}
        write_json(folder / "modules.json", modules)
        if chosen:
            (folder / "1_Pooling").mkdir()
            pooling = {"word_embedding_dimension": hidden_size, **modes}
            if not self.include_prompt:
                pooling["include_prompt"] = False
            write_json(folder / "1_Pooling" / "config.json", pooling)
        if self.max_length is not None or self.lower:
            settings = {"max_seq_length": self.max_length, "do_lower_case": self.lower}
            write_json(folder / "sentence_bert_config.json", settings)
        prompts = dict(self.prompts)
        if self.prompt not in {"", *prompts.values()}:
            prompts["text"] = self.prompt
        names = {words: name for name, words in prompts.items() if words}
        whole = {
            "prompts": prompts,
            "default_prompt_name": names.get(self.prompt),
            "similarity_fn_name": self.similarity,
            "truncate_dim": self.truncate_dim,
        }
        if prompts or self.truncate_dim or self.similarity != "cosine":
            write_json(folder / "config_sentence_transformers.json", whole)


def _pooling(config: dict[str, Any], folder: Path) -> str:
    """Their pooling settings -> our name for them."""
    if "pooling_mode" in config:  # sentence-transformers 5.4 and later
        modes = config["pooling_mode"]
        names = modes if isinstance(modes, list) else [modes]
    else:
        keys = [key for key, value in config.items() if value and key.startswith("pooling_mode_")]
        names = [key.removeprefix("pooling_mode_") for key in keys] or ["mean"]  # as they read it
    unknown = [name for name in names if name not in list(MODES)]
    if unknown or not names:
        raise ValueError(
            f"{folder}: this folder pools by {unknown or names}, expected some of {list(MODES)}"
        )
    in_order = sorted(names, key=list(MODES).index) if "pooling_mode" not in config else names
    return "+".join(MODES[name] for name in in_order)


def _settings(*paths: Path) -> dict[str, Any]:
    """The content of the first of these files that is there."""
    return next((_read(path) for path in paths if path.is_file()), {})


def _read(path: Path) -> dict[str, Any]:
    """Raises ValueError that names the file if a setting is of another kind than it must be."""
    settings = read_json(path)
    modes = [key for key in settings if key.startswith("pooling_mode_")]
    check_kinds(path, settings, [*KINDS, ("true or false", (bool,), modes)])
    for value in (settings.get("prompts") or {}).values():
        if value is not None and not isinstance(value, str):
            raise ValueError(f"{path}: expected prompts to be strings, got {value!r:.60}")
    return settings
