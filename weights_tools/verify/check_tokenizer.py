"""Is the tokenizer read as its own file says? The compiled tokenizer, on the same file, tells.

transformers 5 rebuilds the rules of a BertTokenizer from `tokenizer_config.json`, and where that is
silent it forgets what `tokenizer.json` says: a cased, accent-keeping or ideograph-joining model is
lower-cased, stripped or split without a word. That is told, since its vectors would be others.
"""

from importlib.util import find_spec
from pathlib import Path

from minibert.tokenizer.tokenizer import Tokenizer
from weights_tools.verify.verdict import INFO, PASS, Row

PROBE = "The Paris caf\u00e9, \u4e2d\u56fd"  # capitals, an accent, two ideographs


def check_tokenizer(folder: Path) -> list[Row]:
    """A row, where there is a tokenizer.json and the package tokenizers."""
    file = folder / "tokenizer.json"
    if not file.is_file() or find_spec("tokenizers") is None:
        return []
    import tokenizers

    try:
        mine = Tokenizer.from_folder(folder).ids(PROBE)
    except ValueError as error:
        return [Row("tokenizer", file.name, INFO, f"is not read here: {error}")]
    compiled = tokenizers.Tokenizer.from_file(str(file))
    compiled.no_padding()  # a file may ask for both
    compiled.no_truncation()
    theirs = compiled.encode(PROBE, add_special_tokens=False).ids
    if mine != theirs:
        detail = "tokenizer_config.json says otherwise than this file, and is believed"
        return [Row("tokenizer", file.name, INFO, detail)]
    detail = "is read as the compiled tokenizer reads it"
    if find_spec("transformers") is not None and (folder / "config.json").is_file():
        import transformers

        hub = transformers.AutoTokenizer.from_pretrained(folder)
        if hub(PROBE, add_special_tokens=False)["input_ids"] != theirs:
            detail += f"; transformers {transformers.__version__} reads it otherwise: {PROBE!r} as "
            detail += repr(" ".join(hub.tokenize(PROBE)))
    return [Row("tokenizer", file.name, PASS, detail)]
