"""The house rules that a test can hold: shapes, imports, sizes, what loading costs."""

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from shape_comments import ShapeWatcher
from twins import TINY, tiny_batch, tiny_labels, trained_like

from minibert.config import BertConfig
from minibert.heads import BertForPreTraining
from minibert.model import BertModel
from minibert.pooling import cls_pool, last_pool, max_pool, mean_pool

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "minibert"
# What one reads to know what BERT computes, in this order: the rules of the tokenizer in their
# plain form, then the model. `tokenizer.py` and `batch.py` are the same rules fast and convenient.
READ_ALONG = (
    *("config", "rules", "wordpiece"),
    *("embeddings", "attention", "encoder", "model", "heads"),
)
ONE_FILE = (*READ_ALONG[:3], "tokenizer", "batch", *READ_ALONG[3:])

# A file may import from those above it in this list, never from those below.
DOWNHILL = (
    *("config", "checks", "unicode_classes", "files", "run_log", "rules", "wordpiece"),
    *("added_tokens", "vocab", "tokenizer_files", "tokenizer", "truncation", "arguments"),
    *("explain", "batch", "embeddings", "attention", "encoder", "model", "heads"),
    *("weight_files", "weights", "hub_errors", "hub", "trace", "memory"),
    *("threads", "linear", "unpadded", "fast", "engine", "pooling", "recipe", "embed_plan"),
    *("nearest", "embed", "line_chunks", "vector_formats", "embed_file"),
    *("predict", "bert", "parsers", "view", "training", "diagnosis", "commands", "cli", "__main__"),
)
SIZES = {"B": 3, "T": 7, "H": 20, "A": 4, "D": 5, "I": 44, "L": 3, "V": 61}


def imports_of(path: Path, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def run_all_paths() -> None:
    """Every line of the model with a shape comment, at sizes that all differ."""
    model = trained_like()
    batch = tiny_batch()
    labels = tiny_labels(batch)
    model(**batch, **labels, output_attentions=True, output_hidden_states=True)
    model(batch["input_ids"].clamp(min=1))
    states = model.bert(**batch).last_hidden_state
    for pool in (mean_pool, max_pool, cls_pool, last_pool):
        pool(states, batch["attention_mask"])


def test_shape_comments():
    files = [LIBRARY / f"{name}.py" for name in (*READ_ALONG[3:], "pooling")]
    watcher = ShapeWatcher(files, SIZES)
    watcher.run(run_all_paths)
    assert not watcher.wrong, watcher.wrong
    in_embed = [where for where in watcher.unchecked() if not where.startswith("pooling.py")]
    assert not in_embed, f"shape comments that no run reached: {in_embed}"
    assert len(watcher.checked) > 30


def test_a_wrong_shape_comment_is_seen(tmp_path):
    source = (LIBRARY / "attention.py").read_text()
    wrong = source.replace(
        "probabilities @ value  # (B, A, T, D)", "probabilities @ value  # (B, T, A, D)"
    )
    assert wrong != source
    path = tmp_path / "attention.py"
    path.write_text(wrong)
    namespace: dict = {}
    exec(compile(wrong, str(path), "exec"), namespace)
    attention = namespace["BertAttention"](TINY)
    watcher = ShapeWatcher([path], SIZES)
    watcher.run(lambda: attention(torch.randn(3, 7, 20), explicit=True))
    assert len(watcher.wrong) == 1 and "(B, T, A, D)" in watcher.wrong[0]


def test_imports_run_downhill():
    for path in LIBRARY.rglob("*.py"):
        inside = path.relative_to(LIBRARY)
        here = inside.parts[0].removesuffix(".py")
        if here in ("__init__", "bundled"):
            continue
        assert here in DOWNHILL, f"{inside} has no place in the order of files"
        for name in imports_of(path):
            if name.startswith("minibert.") and len(name.split(".")) == 2:
                target = name.split(".")[1]
                if (
                    target == here
                    or not (LIBRARY / target).exists()
                    and not (LIBRARY / f"{target}.py").exists()
                ):
                    continue
                assert DOWNHILL.index(target) < DOWNHILL.index(here), f"{inside} imports {target}"


def test_the_library_imports_nothing_from_its_users():
    for path in LIBRARY.rglob("*.py"):
        for name in imports_of(path):
            top = name.split(".")[0]
            assert top not in ("weights_tools", "tutorials", "benchmarks", "tests"), path
            assert top not in ("transformers", "tokenizers", "sentence_transformers"), path


def test_read_along_is_one_valid_file():
    """The files, one after the other without the imports between them, are BERT in one file."""
    futures, bodies = [], []
    for name in ONE_FILE:
        text = (LIBRARY / f"{name}.py").read_text(encoding="utf-8")
        kept = text.splitlines()
        for node in ast.parse(text).body:
            internal = isinstance(node, ast.ImportFrom) and node.module in {
                f"minibert.{other}" for other in ONE_FILE
            }
            future = isinstance(node, ast.ImportFrom) and node.module == "__future__"
            if internal or future:
                for number in range(node.lineno - 1, node.end_lineno):
                    kept[number] = ""
            if future:
                futures = [ast.unparse(node)]
        bodies.append("\n".join(kept))
    namespace: dict = {"__name__": "one_file"}
    module = type(sys)("one_file")
    sys.modules["one_file"] = module
    try:
        exec(compile("\n".join([*futures, *bodies]), "one_file.py", "exec"), module.__dict__)
        namespace = module.__dict__
        model = namespace["BertForPreTraining"](
            namespace["BertModel"](namespace["BertConfig"](**dataclasses.asdict(TINY)))
        )
        model.double().load_state_dict(trained_like().state_dict())
        batch = tiny_batch()
        expected = trained_like()(**batch).prediction_logits
        assert torch.equal(model.eval()(**batch).prediction_logits, expected)
        words = namespace["Tokenizer"](["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "bank"])
        assert words.tokenize("Bank") == ["bank"]
    finally:
        del sys.modules["one_file"]


def test_read_along_stays_readable():
    """Near 800 lines in all, comments and examples included; no file is long."""
    lengths = {}
    for name in ONE_FILE:
        lengths[name] = len((LIBRARY / f"{name}.py").read_text(encoding="utf-8").splitlines())
    assert sum(lengths[name] for name in READ_ALONG) < 900, lengths
    assert max(lengths[name] for name in READ_ALONG) < 150, lengths
    assert lengths["tokenizer"] < 300, lengths


@pytest.mark.parametrize("field", dataclasses.fields(BertConfig), ids=lambda field: field.name)
def test_no_config_field_is_dead(field):
    """Changing a field changes what the model is or computes."""
    other = {
        "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-3,
        "initializer_range": 0.5,
        "hidden_dropout_prob": 0.5,
        "attention_probs_dropout_prob": 0.5,
        "num_attention_heads": 5,
        "hidden_size": 24,
        "pad_token_id": 7,
    }
    value = other.get(
        field.name, getattr(TINY, field.name) + 1 if field.name not in other else None
    )
    changed = dataclasses.replace(TINY, **{field.name: value})

    def signature(config: BertConfig) -> tuple:
        torch.manual_seed(0)
        model = BertForPreTraining(BertModel(config)).train()
        shapes = tuple(tuple(p.shape) for p in model.parameters())
        torch.manual_seed(1)
        ids = torch.tensor([[5, 6, 7]])
        loss = model(ids, labels=ids, attention_mask=torch.ones_like(ids)).loss
        loss.backward()
        token = model.bert.embeddings.token.weight
        return shapes, round(loss.item(), 9), round(float(token.grad.abs().sum()), 6)

    assert signature(TINY) == signature(TINY)
    assert signature(changed) != signature(TINY)


def loaded_by(code: str) -> set[str]:
    program = f"import sys; {code}; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_what_imports_cost():
    assert not loaded_by("import minibert") & {"torch", "transformers", "numpy"}
    heavy = {"transformers", "tokenizers", "sentence_transformers"}
    assert not loaded_by("import minibert.bert, minibert.cli") & heavy


def test_tokenize_needs_no_torch(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbank\n")
    code = f"from minibert.cli import main; main(['tokenize', '-m', {str(tmp_path)!r}, 'Bank'])"
    assert "torch" not in loaded_by(code)


def test_every_source_file_is_clean_of_machines():
    """No path of one machine in anything that is shipped."""
    for path in [*LIBRARY.rglob("*.py"), *(ROOT / "weights_tools").rglob("*.py")]:
        assert not re.search(r"/(work|home|root|Users)/", path.read_text(encoding="utf-8")), path
