"""The house rules that a test can hold: shapes, imports, sizes, what loading costs."""

import ast
import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel
from minibert.vectors.pooling import cls_pool, last_pool, max_pool, mean_pool
from tests.house.clever_arithmetic import clever_arithmetic
from tests.house.shape_comments import ShapeWatcher
from tests.parity.twins import TINY, tiny_batch, tiny_labels, trained_like

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "minibert"
# BERT, whole, in the order in which one reads it; two more files serve these.
READ_ALONG = [
    "config",
    "rules",
    "wordpiece",
    "inputs",
    "embeddings",
    "attention",
    "encoder",
    "model",
    "heads",
]
SERVING = ("checks", "unicode_classes")

# A folder may import from those on its own line or on lines above, never from those below.
FLOORS = (
    "core system",
    "tokenizer weights fast trace",
    "vectors variants",
    "tasks diagnosis",
    "bert training",
    "view",
    "serve",
    "cli __main__",
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
    files = [LIBRARY / f"core/{name}.py" for name in READ_ALONG[4:]]
    files.append(LIBRARY / "vectors/pooling.py")
    watcher = ShapeWatcher(files, SIZES)
    watcher.run(run_all_paths)
    assert not watcher.wrong, watcher.wrong
    in_embed = [where for where in watcher.unchecked() if not where.startswith("pooling.py")]
    assert not in_embed, f"shape comments that no run reached: {in_embed}"
    assert len(watcher.checked) > 30


def test_a_wrong_shape_comment_is_seen(tmp_path):
    source = (LIBRARY / "core/attention.py").read_text()
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


def test_imports_run_down_the_floors():
    floor = {name: number for number, names in enumerate(FLOORS) for name in names.split()}
    for path in LIBRARY.rglob("*.py"):
        inside = path.relative_to(LIBRARY)
        here = inside.parts[0].removesuffix(".py")
        if here in ("__init__", "bundled"):
            continue
        assert here in floor, f"{inside} has no place on the floors"
        for name in imports_of(path):
            target = name.split(".")[1] if name.startswith("minibert.") else here
            if target in floor and target != here:
                assert floor[target] <= floor[here], f"{inside} imports {target}, a floor above"
                if here in ("core", "system"):
                    assert target == here, f"{inside} imports {name}: it may import nothing of us"


def test_the_library_imports_nothing_from_its_users():
    for path in LIBRARY.rglob("*.py"):
        for name in imports_of(path):
            top = name.split(".")[0]
            assert top not in ("weights_tools", "tutorials", "benchmarks", "tests"), path
            assert top not in ("transformers", "tokenizers", "sentence_transformers"), path


def test_the_folder_is_bert_in_one_file(tmp_path):
    """One after the other, without the imports between them, they need torch and no minibert."""
    futures, bodies = [], []
    for name in (*SERVING, *READ_ALONG):
        text = (LIBRARY / f"core/{name}.py").read_text(encoding="utf-8")
        kept = text.splitlines()
        for node in ast.parse(text).body:
            if isinstance(node, ast.ImportFrom):
                assert node.module
                if node.module == "__future__":
                    futures = [ast.unparse(node)]
                elif not node.module.startswith("minibert.core."):
                    assert not node.module.startswith("minibert"), f"core/{name}.py"
                    continue
                for number in range(node.lineno - 1, node.end_lineno):
                    kept[number] = ""
        bodies.append("\n".join(kept))
    batch = tiny_batch()
    model = trained_like()
    torch.save(
        {
            "config": dataclasses.asdict(TINY),
            "weights": model.state_dict(),
            "batch": dict(batch),
            "logits": model(**batch).prediction_logits.detach(),
        },
        tmp_path / "expected.pt",
    )
    check = """
import torch
expected = torch.load("expected.pt")
model = BertForPreTraining(BertModel(BertConfig(**expected["config"]))).double().eval()
model.load_state_dict(expected["weights"])
logits = model(**expected["batch"]).prediction_logits
assert torch.equal(logits, expected["logits"])
names = ["[PAD]", "[CLS]", "[SEP]", "bank", "##s"]
vocab = {name: number for number, name in enumerate(names)}
assert longest_match_first("banks", vocab) == ["bank", "##s"]
assert model_inputs(["Bank", "Bänks"], vocab, ["bank", "bank"]) == {
    "input_ids": [[1, 3, 2, 3, 2, 0], [1, 3, 4, 2, 3, 2]],
    "token_type_ids": [[0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 1, 1]],
    "attention_mask": [[1, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1]],
}
assert not any(name.startswith("minibert.") for name in sys.modules)
"""
    program = "\n".join([*futures, "import sys; sys.modules['minibert'] = None", *bodies, check])
    (tmp_path / "one_file.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "one_file.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_read_along_stays_readable():
    """Near 900 lines in all, comments and examples included; no file is long."""
    lengths = {
        name: len((LIBRARY / f"core/{name}.py").read_text(encoding="utf-8").splitlines())
        for name in READ_ALONG
    }
    assert sum(lengths.values()) < 950, lengths
    assert max(lengths.values()) < 150, lengths


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
    assert not loaded_by("import minibert.bert, minibert.cli.main") & heavy


def test_tokenize_needs_no_torch(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbank\n")
    code = (
        f"from minibert.cli.main import main; main(['tokenize', '-m', {str(tmp_path)!r}, 'Bank'])"
    )
    assert "torch" not in loaded_by(code)


def test_every_source_file_is_clean_of_machines():
    """No path of one machine in anything that is shipped."""
    for path in [*LIBRARY.rglob("*.py"), *(ROOT / "weights_tools").rglob("*.py")]:
        assert not re.search(r"/(work|home|root|Users)/", path.read_text(encoding="utf-8")), path


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def test_the_package_has_no_loose_files():
    loose = {path.name for path in LIBRARY.iterdir() if path.is_file()}
    assert loose == {"__init__.py", "__main__.py", "bert.py", "trace.py", "py.typed"}


def test_signposts_hold_no_code():
    """Every `__init__` says what one does in its folder, and in which order to read it."""
    with_code = [LIBRARY / f"{folder}__init__.py" for folder in ("", "view/", "serve/")]
    for path in python_files("minibert", "weights_tools", "tutorials", "benchmarks", "tests"):
        if path.name == "__init__.py" and path not in with_code:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            assert len(tree.body) == 1, f"{path.relative_to(ROOT)} has code"
            docstring = ast.get_docstring(tree) or ""
            assert len(docstring.split()) >= 4, f"{path.relative_to(ROOT)} says nothing"


def test_clever_arithmetic_is_seen():
    for line in (
        "x = [1] * (a > b)",
        "x = '!' * (not a)",
        "def f(a: bool): return a * 'text'",
        "x = -(-a // b)",
        "x = (a and b) * 2",
        "x = f'{a}!' * bool(a)",
    ):
        assert clever_arithmetic(ast.parse(line)), line
    for line in ("x = [0] * n", "x = '-' * 30", "x = -(a // b)", "x = mask * 2"):
        assert not clever_arithmetic(ast.parse(line)), line


def test_no_clever_arithmetic():
    for path in python_files("minibert", "weights_tools", "tutorials", "benchmarks"):
        clever = clever_arithmetic(ast.parse(path.read_text(encoding="utf-8")))
        assert not clever, f"{path.relative_to(ROOT)}: {clever}"


def test_tests_mirror_the_packages():
    """Each folder of tests/ has the name of a room or a package; two stand for themselves."""
    rooms = {path.parent.name for path in LIBRARY.glob("*/__init__.py")}
    packages = {"weights_tools", "tutorials", "benchmarks"}
    for path in (ROOT / "tests").rglob("test_*.py"):
        folder, *file = path.relative_to(ROOT / "tests").parts
        if file:
            assert folder in rooms | packages | {"parity", "house"}, path
        else:
            assert folder in ("test_bert.py", "test_trace.py"), path
