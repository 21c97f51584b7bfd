"""The checker as a whole: right students pass, in whatever form; wrong ones hear what is wrong."""

import json
import re
import threading
import types
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers

from benchmarks.diagnosis_leave_one_out import seen
from minibert.cli.diagnose import dump_probe, make_student
from minibert.cli.main import main
from minibert.diagnosis.building import build
from minibert.diagnosis.catalogue.all import CATALOGUE, EQUIVALENT
from minibert.diagnosis.catalogue.block import own_norms
from minibert.diagnosis.catalogue.mistake import attentions, blocks, override
from minibert.diagnosis.checker import Checker
from minibert.diagnosis.gradients import gradient_difference, reference_gradients
from minibert.diagnosis.naming import our_name
from minibert.diagnosis.probe import probe_config, probe_model
from minibert.diagnosis.relations import relations, where
from minibert.diagnosis.students import Arrays, StudentError
from minibert.diagnosis.targets import load_target
from minibert.diagnosis.traces import (
    FLOAT32_TOLERANCE,
    GRADED,
    Place,
    first_difference,
    observe,
    rounded,
)
from tests.diagnosis import own_berts as students
from tests.diagnosis.right_berts import NAMES, RIGHT


def diagnose(checker, target, names=None):
    return checker.check(build(target, checker.model, checker.expected, names or {}))


def with_mistakes(*ids):
    def build_wrong(config, weights):
        model = students.mine(config, weights)
        for each in ids:
            CATALOGUE[each].apply(model)
        return explicit(model)

    return build_wrong


def explicit(model):
    """minibert's model, always by the formula: attention's dropout then sits in the open."""

    class Explicit(type(model)):
        def forward(self, input_ids, token_type_ids=None, attention_mask=None):
            return super().forward(
                input_ids,
                token_type_ids=token_type_ids,
                attention_mask=attention_mask,
                output_attentions=True,
                output_hidden_states=True,
            )

    model.__class__ = Explicit
    return model


# ---- Right students ----


@pytest.mark.parametrize(
    "target",
    [
        transformers.BertModel,
        transformers.BertForPreTraining,
        students.hugging_face,
        with_mistakes(),
        students.mine,
    ],
    ids=["BertModel", "BertForPreTraining", "built by a function", "minibert", "fused attention"],
)
def test_right_models_pass_every_check(checker, target):
    diagnosis = diagnose(checker, target)
    assert diagnosis.passed, diagnosis.text()
    assert [check.passed for check in diagnosis.checks] == [True] * 8, diagnosis.text()


def test_another_order_of_operations_passes(checker):
    diagnosis = diagnose(checker, students.OtherWords, students.NAMES)
    assert diagnosis.passed, diagnosis.text()
    names = {check.name: check.passed for check in diagnosis.checks}
    assert names["gradients"] is True
    assert names["dropout"] is None  # it has none, which is said


def test_a_float32_student_passes(checker):
    diagnosis = diagnose(checker, students.hugging_face_float32)
    assert diagnosis.passed
    assert any("float64" in note for note in diagnosis.notes)


def test_a_module_that_runs_in_float32_alone_passes(checker):
    diagnosis = diagnose(checker, students.SoftmaxInFloat32, students.NAMES)
    assert diagnosis.passed, diagnosis.text()
    names = {check.name: check for check in diagnosis.checks}
    assert names["gradients"].passed is True
    assert "there is none" in names["dropout"].text  # looked at, in float32


def in_float32(module, compute):
    override(module, "forward", lambda original, x: compute(x.float()).double())


def softmax_in_float32(model):
    for attention in attentions(model):
        in_float32(attention.probabilities, lambda x: x.softmax(-1))


def norms_in_float32(model):
    for norm in own_norms(model):
        weight, bias, eps = norm.weight.float(), norm.bias.float(), norm.eps
        in_float32(
            norm, lambda x, w=weight, b=bias, e=eps: F.layer_norm(x, x.shape[-1:], w, b, eps=e)
        )


def gelu_in_float32(model):
    for block in blocks(model):
        in_float32(block.feed_forward.activation, F.gelu)


def constant_in_float32(model):
    for attention in attentions(model):
        attention.scale = 1 / float(torch.sqrt(torch.tensor(5, dtype=torch.float)))


def kernels_in_float32(model):
    for block in blocks(model):
        for linear in (block.attention.query, block.attention.output, block.feed_forward.down):
            weight, bias = linear.weight.float(), linear.bias.float()
            in_float32(linear, lambda x, w=weight, b=bias: F.linear(x, w, b))


SINGLE = (
    softmax_in_float32,
    norms_in_float32,
    gelu_in_float32,
    constant_in_float32,
    kernels_in_float32,
)


def changed(*changes, outputs_alone=False):
    """A builder of a right model with these changes: known mistakes by name, or functions."""

    def build_changed(config, weights):
        model = students.mine(config, weights)
        for name in (each for each in changes if isinstance(each, str)):
            CATALOGUE[name].apply(model)
        for change in (each for each in changes if not isinstance(each, str)):
            change(model)
        model = explicit(model).eval()
        if not outputs_alone:
            return model
        return lambda input_ids, token_type_ids, attention_mask: (
            model(input_ids, token_type_ids, attention_mask).prediction_logits
        )

    return build_changed


@pytest.mark.parametrize("outputs_alone", [False, True])
@pytest.mark.parametrize("changes", [*((each,) for each in SINGLE), SINGLE])
def test_float32_inside_is_right_and_said(checker, changes, outputs_alone):
    diagnosis = diagnose(checker, changed(*changes, outputs_alone=outputs_alone))
    assert diagnosis.passed, diagnosis.text()
    assert "float32's precision" in diagnosis.text()
    assert "something is computed in float32, first in" in " ".join(diagnosis.notes)


@pytest.mark.parametrize("each", ["gelu_tanh", "norm_eps_1e6", "scale_missing", "mask_missing"])
def test_a_mistake_beside_float32_is_named(checker, each):
    one = softmax_in_float32 if each != "mask_missing" else norms_in_float32
    diagnosis = diagnose(checker, changed(each, one))
    assert diagnosis.explanations == [(each,)], diagnosis.text()
    assert "reproduces your numbers to float32's precision" in diagnosis.text()
    assert not diagnosis.invariants


def positions_rounded(model):
    table = model.bert.embeddings.position
    override(table, "forward", lambda original, ids: original(ids).float().double())


def test_a_sinusoidal_table_in_float32_is_recognised(checker):
    diagnosis = diagnose(checker, changed("position_sinusoidal", positions_rounded))
    assert diagnosis.explanations == [("position_sinusoidal",)], diagnosis.text()
    assert "to float32's precision" in diagnosis.text()


@pytest.mark.parametrize("eps", [1e-7, 1e-8])
def test_a_small_slip_is_not_taken_for_rounding(checker, eps):
    def other_eps(model):
        for norm in own_norms(model):
            norm.eps = eps

    diagnosis = diagnose(checker, changed(other_eps))
    assert not diagnosis.passed
    assert diagnosis.tensor == "embeddings.norm"


def test_every_known_mistake_is_larger_than_rounding(checker):
    mask = checker.batch["attention_mask"]
    for name in checker.replay.by_id:
        if name not in EQUIVALENT:
            assert not rounded(checker.expected, checker.replay.cached((name,)), mask), name


def test_the_noise_of_float32_gradients_is_far_from_their_tolerance(checker):
    single = Checker()
    single.model.float()
    right, rough = (reference_gradients(each.replay, [], GRADED) for each in (checker, single))
    worst = max(
        float((right[name] - rough[name]).abs().max() / right[name].abs().max().clamp(min=1))
        for name in right
    )
    assert 1e-7 < worst < FLOAT32_TOLERANCE / 3
    assert gradient_difference(right, rough, FLOAT32_TOLERANCE) == []


def test_a_right_model_that_returns_logits_alone_is_not_said_to_lack_dropout(checker):
    diagnosis = diagnose(checker, students.LogitsAlone)
    assert diagnosis.passed, diagnosis.text()
    (dropout,) = (check for check in diagnosis.checks if check.name == "dropout")
    assert dropout.passed, dropout.text


def test_float32_noise_is_far_from_its_tolerance(checker):
    model = probe_model().float()
    single = {k: t.double() for k, t in observe(model, checker.batch).items()}
    mask = checker.batch["attention_mask"]
    assert first_difference(checker.expected, single, mask, FLOAT32_TOLERANCE / 3) is None


def test_a_numpy_student_passes(checker):
    assert diagnose(checker, students.numpy).passed


def test_an_instance_passes_and_is_not_changed(checker):
    config = types.SimpleNamespace(**checker.model.config.to_dict())
    model = students.OtherWords(config)
    before = model.words.weight.clone()
    diagnosis = diagnose(checker, model, students.NAMES)
    assert diagnosis.passed and torch.equal(before, model.words.weight)
    assert model.words.weight.dtype == torch.float32


# ---- Wrong students ----


@pytest.mark.parametrize(
    "each", ["scale_missing", "mask_missing", "norm_eps_1e5", "word_bias_twice"]
)
def test_a_wrong_model_hears_its_mistake(checker, each):
    diagnosis = diagnose(checker, with_mistakes(each))
    assert not diagnosis.passed
    assert diagnosis.explanations == [(each,)]
    assert CATALOGUE[each].symptom in diagnosis.text()
    assert CATALOGUE[each].symptom not in diagnosis.text(hint=1)


TRAIN = [each.id for each in CATALOGUE.values() if each.kind == "train"]
GRADIENT = [each.id for each in CATALOGUE.values() if each.kind == "gradient"]


@pytest.mark.parametrize("each", TRAIN)
def test_misplaced_dropout_is_named(checker, each):
    diagnosis = diagnose(checker, with_mistakes(each))
    assert [check.name for check in diagnosis.checks if check.passed is False] == ["dropout"], (
        diagnosis.text()
    )
    assert diagnosis.explanations == [(each,)], diagnosis.text()


@pytest.mark.parametrize("each", GRADIENT)
def test_a_cut_gradient_is_named(checker, each):
    diagnosis = diagnose(checker, with_mistakes(each))
    assert [check.name for check in diagnosis.checks if check.passed is False] == ["gradients"]
    assert diagnosis.explanations == [(each,)], diagnosis.text()


def test_two_mistakes_in_another_library(checker):
    def wrong(config, weights):
        model = students.hugging_face(config, weights)
        for layer in model.bert.encoder.layer:
            layer.attention.self.scaling = 1.0
        for module in model.modules():
            if isinstance(module, torch.nn.LayerNorm):
                module.eps = 1e-5
        return model

    assert diagnose(checker, wrong).explanations == [("norm_eps_1e5", "scale_missing")]


def test_an_unknown_scale_gets_its_factor_and_no_name(checker):
    def wrong(config, weights):
        model = students.hugging_face(config, weights)
        for layer in model.bert.encoder.layer:
            layer.attention.self.scaling = 0.3
        return model

    diagnosis = diagnose(checker, wrong)
    assert diagnosis.explanations == []
    assert diagnosis.tensor == "encoder.blocks.0.attention.probabilities"
    assert "the reference's scores x 0.6708" in diagnosis.relations[0]
    assert "No known mistake" in diagnosis.text()


def test_what_the_invariants_say(checker):
    class LeaksALittle(students.OtherWords):
        def forward(self, tokens, segments, mask):
            x = super().forward(tokens, segments, mask)
            return x + 0.01 * x.mean(dim=(0, 1))

    diagnosis = diagnose(checker, LeaksALittle, students.NAMES)
    assert diagnosis.explanations == []
    assert not diagnosis.notes
    assert "more padding on the right changes real tokens" in diagnosis.invariants


def test_attentions_with_their_axes_exchanged_are_named(checker):
    diagnosis = diagnose(checker, students.turned_attentions)
    assert diagnosis.tensor == "encoder.blocks.0.attention.probabilities"
    assert "expected shape (6, 4, 7, 7), got (4, 6, 7, 7)" in diagnosis.relations[0]


@pytest.mark.parametrize(
    ("target", "check", "words"),
    [
        (students.NewLayerInForward, "repeatable", "a layer built inside forward"),
        (students.LiveDropout, "repeatable", "it must be off there"),
        (students.ChangesItsInput, "inputs untouched", "input_ids"),
        (students.Detached, "gradients", "no gradient at all"),
        (students.AddsInPlace, "gradients", "the backward pass fails: RuntimeError"),
        (students.FailsInTrainMode, "dropout", "in train mode, it fails"),
        (students.gives_nan, "no NaN", "the last hidden states"),
        (students.returns_nothing_known, "output", "return last_hidden_state"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_contract(checker, target, check, words):
    diagnosis = diagnose(checker, target, students.NAMES)
    failed = [each for each in diagnosis.checks if each.passed is False]
    assert [each.name for each in failed] == [check]
    assert words in failed[0].text


@pytest.mark.parametrize(
    ("target", "names", "words"),
    [
        (students.OtherWords, {}, "give a table with --names"),
        (students.WrongSize, students.NAMES, "expected (20,)"),
        (students.fails, {}, "it fails on the probe's batch"),
        (students.not_callable, {}, "must return something to call"),
        (students.other_arguments, {}, "must take input_ids"),
        (lambda: 3, {}, "could not be built with the probe's sizes"),
        (3, {}, "expected a class, a module or a function"),
    ],
)
def test_a_student_that_cannot_be_judged_hears_why(checker, target, names, words):
    with pytest.raises(StudentError) as error:
        diagnose(checker, target, names)
    assert words in str(error.value)


def test_what_has_no_place_in_the_student_is_noted(checker):
    diagnosis = diagnose(checker, students.NoKeyBias, students.NAMES)
    assert "encoder.blocks.0.attention.key.bias" in " ".join(diagnosis.notes)
    assert diagnosis.explanations == [("key_bias_missing",)]


def test_names_with_a_block_number():
    config = probe_config()
    names = {"h.N.attn.Norm": "encoder.layer.N.output.LayerNorm"}
    assert our_name("h.2.attn.Norm.weight", config, names) == "encoder.blocks.2.output_norm.weight"
    assert our_name("unheard.of", config, names) == ""


def test_a_student_that_shows_little_is_asked_for_more(checker):
    arrays = {"last_hidden_state": checker.expected["last_hidden_state"].sin()}
    student = Arrays(arrays, checker.expected, checker.model.config)
    diagnosis = checker.check(student)
    assert diagnosis.explanations == []
    assert "pairs of known mistakes were not tried" in diagnosis.notes[0]
    assert "at the last hidden states (" in diagnosis.notes[0]
    arrays = {"embeddings.norm": checker.expected["embeddings.norm"].sin()}  # few mistakes are here
    diagnosis = checker.check(Arrays(arrays, checker.expected, checker.model.config))
    assert diagnosis.explanations == [] and "only 1 of your tensors" in diagnosis.notes[0]


# ---- Files ----


def test_the_dumped_probe_comes_back_right_from_numpy(checker, tmp_path):
    """The road of someone outside Python: only the files, and numbers computed from them."""
    dump_probe(checker, tmp_path)
    weights = dict(np.load(tmp_path / "weights.npz"))
    inputs = dict(np.load(tmp_path / "inputs.npz"))
    config = json.loads((tmp_path / "config.json").read_text())
    bert = students.NumpyBert(weights, heads=config["num_attention_heads"])
    three = [inputs[name] for name in ("input_ids", "token_type_ids", "attention_mask")]
    output = students.numpy_states(bert, *three)
    np.savez(tmp_path / "results.npz", **output)
    student = make_student(str(tmp_path / "results.npz"), checker, {})
    assert checker.check(student).passed
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["config.json", "results.npz"]
        + [
            f"{name}.{end}"
            for name in ("weights", "inputs", "expected")
            for end in ("npz", "safetensors")
        ]
    )


def test_the_dumped_files_may_be_read_by_whoever_may_read_new_files(checker, tmp_path):
    dump_probe(checker, tmp_path / "probe")
    (tmp_path / "new").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "probe").iterdir()}
    assert modes == {(tmp_path / "new").stat().st_mode}


def test_arrays_in_float32_pass_and_wrong_ones_are_named(checker):
    arrays = {name: t.float().numpy() for name, t in checker.expected.items()}
    config = checker.model.config
    assert checker.check(Arrays(arrays, checker.expected, config)).passed
    wrong = checker.replay.tensors([CATALOGUE["gelu_tanh"]])
    arrays = {name: t.float().numpy() for name, t in wrong.items()}
    diagnosis = checker.check(Arrays(arrays, checker.expected, config))
    assert diagnosis.explanations == [("gelu_tanh",)]
    states = {
        "hidden_states.0": wrong["embeddings.norm"],
        "hidden_states.1": wrong["encoder.blocks.0.output_norm"],
        "attentions.0": wrong["encoder.blocks.0.attention.probabilities"],
        "last_hidden_state": wrong["last_hidden_state"],
    }
    diagnosis = checker.check(Arrays(states, checker.expected, config))
    assert diagnosis.explanations == [("gelu_tanh",)]
    assert diagnosis.tensor == "encoder.blocks.0.output_norm"
    with pytest.raises(StudentError, match="none of the 1 arrays"):
        Arrays({"what": np.zeros(3)}, checker.expected, config)


def command(*words):
    return main(["diagnose", *map(str, words)])


def test_the_command(tmp_path, capsys):
    file = tmp_path / "my_bert.py"
    file.write_text("from transformers import BertModel as Right\n")
    assert command(f"{file}:Right") == 0
    assert "no difference found" in capsys.readouterr().out
    file.write_text(
        "import transformers\n"
        "class Wrong(transformers.BertModel):\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config)\n"
        "        for layer in self.encoder.layer:\n"
        "            layer.attention.self.scaling = 1.0\n"
    )
    assert command(f"{file}:Wrong", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert told["explanations"] == [["scale_missing"]] and not told["passed"]
    assert command(f"{file}:Wrong", "--hint", "0") == 1
    assert "not divided" not in capsys.readouterr().out
    assert command(f"{file}:Missing") == 2
    assert "has no 'Missing'" in capsys.readouterr().err
    assert command(f"{tmp_path / 'none.py'}:x", "--json") == 2
    assert "there is no file" in json.loads(capsys.readouterr().out)["error"]
    assert command() == 2
    assert "say what to diagnose" in capsys.readouterr().err


def test_a_file_that_ends_the_program_is_refused_in_words(tmp_path, capsys):
    file = tmp_path / "ends.py"
    file.write_text("import sys\nclass MyBert: pass\nsys.exit(0)\n")
    assert command(f"{file}:MyBert") == 2
    assert "ends the program" in capsys.readouterr().err
    assert command("tests.diagnosis.own_berts:OtherWords", "--mistakes", file) == 2
    assert "ends the program" in capsys.readouterr().err


@pytest.mark.parametrize("inside", ["build", "forward"])
def test_a_student_that_ends_the_program_has_not_passed(inside, tmp_path, capsys):
    bodies = {
        "build": "return forward",
        "forward": "return input_ids",
        inside: "raise SystemExit(0)",
    }
    file = tmp_path / "ends.py"
    file.write_text(
        f"def forward(input_ids, **more):\n    {bodies['forward']}\n"
        f"def build(config, weights):\n    {bodies['build']}\n"
    )
    assert command(f"{file}:build") == 2
    assert "SystemExit: 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("os._exit(0)", 2, "ended in the middle, with exit code 0"),
        ("while True: pass", 2, "is there an endless loop?"),
        ("raise KeyboardInterrupt", 2, "KeyboardInterrupt"),
        ("print('{')", 0, '"passed": true'),
        ("os.write(1, b'{')", 0, '"passed": true'),
        ("torch.set_default_dtype(torch.float64)", 0, '"passed": true'),
    ],
)
@pytest.mark.parametrize("inside", ["import", "build", "forward"])
def test_whatever_a_target_does_there_is_one_answer(line, code, words, inside, tmp_path, capfd):
    lines = {"import": "pass", "build": "pass", "forward": "pass", inside: line}
    (tmp_path / "my_bert.py").write_text(
        f"import os, torch, transformers\n{lines['import']}\n"
        "class MyBert(transformers.BertModel):\n"
        f"    def __init__(self, config):\n        {lines['build']}\n"
        "        super().__init__(config)\n"
        "    def forward(self, input_ids, token_type_ids=None, attention_mask=None):\n"
        f"        {lines['forward']}\n"
        "        return super().forward(input_ids, attention_mask, token_type_ids)\n"
    )
    seconds = "2" if "endless" in words else "300"
    assert command(f"{tmp_path}/my_bert.py:MyBert", "--json", "--seconds", seconds) == code
    (answer,) = map(json.loads, capfd.readouterr().out.splitlines())
    assert words in json.dumps(answer)


def test_gradients_switched_off_by_an_import_are_switched_on_again(checker):
    torch.set_grad_enabled(False)
    try:
        diagnosis = diagnose(checker, transformers.BertModel)
        assert diagnosis.passed and diagnosis.checks[-1].passed, diagnosis.text()
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)


def test_gradients_switched_off_in_forward_are_said_and_do_not_end_the_check(checker):
    class SwitchesOff(students.OtherWords):
        def forward(self, tokens, segments, mask):
            torch.set_grad_enabled(False)
            return super().forward(tokens, segments, mask)

    diagnosis = diagnose(checker, SwitchesOff, students.NAMES)
    assert diagnosis.checks[-1].text == "the output carries no gradient at all"
    assert torch.is_grad_enabled()


def test_a_loss_that_alone_differs_is_placed(checker):
    arrays = {**checker.expected, "loss": checker.expected["loss"] * 3}
    diagnosis = checker.check(Arrays(arrays, checker.expected, checker.model.config))
    assert diagnosis.tensor == "loss" and diagnosis.explanations == []


def test_a_longer_table_of_positions_is_no_end_of_the_gradients(checker):
    def longer(config, weights):
        model = students.hugging_face(config, weights)
        table = model.bert.embeddings.position_embeddings
        table.weight = torch.nn.Parameter(torch.cat([table.weight.detach()] * 2))
        return model

    diagnosis = diagnose(checker, longer)
    assert diagnosis.passed, diagnosis.text()


class Wild(students.OtherWords):
    """What public code has: tables of its own sizes, a head of its own, other leaf names."""

    def __init__(self, config):
        super().__init__(config)
        H = config.hidden_size
        self.kinds = torch.nn.Embedding(3, H)
        self.places = torch.nn.Parameter(torch.zeros(1, 512, H))
        self.classifier = torch.nn.Linear(H, 2)
        self.first = OldNorm(H)

    def forward(self, inputs, segment_label, src_mask):
        x = self.places[0, : inputs.shape[1]] + (self.kinds(segment_label) + self.words(inputs))
        x = self.first(x)
        for layer in self.layers:
            x = layer(x, src_mask[:, None, None, :].bool(), self.heads)
        return x


class OldNorm(torch.nn.Module):
    def __init__(self, size):
        super().__init__()
        self.a_2 = torch.nn.Parameter(torch.ones(size))
        self.b_2 = torch.nn.Parameter(torch.zeros(size))

    def forward(self, x):
        return F.layer_norm(x, x.shape[-1:], self.a_2, self.b_2, eps=1e-12)


def test_what_public_code_has_is_let_in(checker):
    diagnosis = diagnose(checker, Wild, students.NAMES)
    assert diagnosis.passed, diagnosis.text()
    notes = " ".join(diagnosis.notes)
    assert "places has more rows than the probe's" in notes and "kinds.weight has more" in notes
    assert "left as your model makes them" in notes and "classifier.weight" in notes


def test_what_public_code_has_is_still_judged(checker):
    class Shifted(Wild):
        def forward(self, inputs, segment_label, src_mask):
            return super().forward(inputs, segment_label, src_mask * 0 + 1)

    assert diagnose(checker, Shifted, students.NAMES).explanations == [("mask_missing",)]


@pytest.mark.parametrize("places", [(1, 5), (2, 512)])
def test_tables_that_do_not_fit_are_refused(checker, places):
    class Short(Wild):
        def __init__(self, config):
            super().__init__(config)
            self.places = torch.nn.Parameter(torch.zeros(*places, config.hidden_size))

    with pytest.raises(StudentError, match="your parameter places has the shape"):
        diagnose(checker, Short, students.NAMES)


def test_a_constructor_that_refuses_a_dropout_of_1_is_noted(checker):
    class Refuses(students.OtherWords):
        def __init__(self, config):
            assert config.hidden_dropout_prob == 0, "no dropout here"
            super().__init__(config)

    diagnosis = diagnose(checker, Refuses, students.NAMES)
    assert diagnosis.passed
    (dropout,) = (check for check in diagnosis.checks if check.name == "dropout")
    assert dropout.passed is None and "no dropout here" in dropout.text


@pytest.mark.parametrize("inside", ["build", "forward"])
def test_an_error_comes_with_its_line(checker, inside):
    class Fails(students.OtherWords):
        def __init__(self, config):
            super().__init__(config)
            self.places.nothing if inside == "build" else None  # noqa: B018

        def forward(self, tokens, segments, mask):
            return torch.ones(2) @ tokens.double()

    line = "self.places.nothing" if inside == "build" else "torch.ones(2) @"
    with pytest.raises(StudentError, match=r"test_checker\.py, line \d+: ") as error:
        diagnose(checker, Fails, students.NAMES)
    assert line in str(error.value)


QUERY, KEY, VALUE = (
    f"bert.encoder.layer.1.attention.self.{name}.weight" for name in ("query", "key", "value")
)
NORM = "bert.encoder.layer.{}.output.LayerNorm.{}"
SLIPS = {  # the key that is filled: what it is filled with, and what is said of it
    "query and key exchanged": {QUERY: KEY, KEY: QUERY},
    "a block with another's weights": {KEY: KEY.replace("1", "2")},
    "a norm one late": {NORM.format(1, leaf): NORM.format(0, leaf) for leaf in ("weight", "bias")},
    "a bias of another layer": {
        "bert.pooler.dense.bias": "bert.encoder.layer.0.output.dense.bias",
    },
    "a kernel transposed": {VALUE: VALUE},
}


@pytest.mark.parametrize("slip", SLIPS)
def test_loading_slips_have_a_sentence(checker, slip):
    def loads(config, weights):
        changed = dict(weights)
        for key, other in SLIPS[slip].items():
            changed[key] = weights[other].T if key == other else weights[other]
        return students.hugging_face(config, changed)

    diagnosis = diagnose(checker, loads)
    assert not diagnosis.passed
    for key, other in SLIPS[slip].items():
        what = "it transposed" if key == other else our_name(other, checker.model.config, {})
        ours = our_name(key, checker.model.config, {})
        said = f"your {key} does not hold {ours} of the weights file, but {what}"
        assert said in diagnosis.relations, diagnosis.text()


def test_of_a_model_that_is_loaded_rightly_nothing_is_said(checker):
    def wrong(config, weights):
        model = students.hugging_face(config, weights).float()
        for layer in model.bert.encoder.layer:
            layer.attention.self.scaling = 1.0
        return model

    diagnosis = diagnose(checker, wrong)
    assert diagnosis.explanations == [("scale_missing",)]
    assert "weights file" not in diagnosis.text()


def test_the_first_tensor_that_is_not_repeatable_is_told(checker):
    class Random(students.OtherWords):
        def __init__(self, config):
            super().__init__(config)
            self.first.register_forward_hook(lambda module, inputs, x: x + torch.rand(1).double())

    (failed,) = (c for c in diagnose(checker, Random, students.NAMES).checks if c.passed is False)
    assert failed.name == "repeatable" and "the embeddings after LayerNorm" in failed.text


def test_the_gradient_that_is_told_is_the_one_nearest_the_output(checker):
    def cut(model):
        block = blocks(model)[1]
        override(block, "forward", lambda original, x, *more: original(x.detach(), *more))

    diagnosis = diagnose(checker, changed(cut))
    assert "encoder.blocks.0.output_norm.bias gets no gradient" in diagnosis.text()


ACCEPTED = ["norm_eps_1e5", "segment_all_zero", "gelu_tanh", "embedding_dropout_before_norm"]


def test_a_course_s_own_bert_is_right_when_it_is_accepted(checker):
    wrong = diagnose(checker, changed(*ACCEPTED))
    assert wrong.explanations == [tuple(sorted(ACCEPTED[:3]))]
    lenient = Checker(accept=ACCEPTED)
    diagnosis = diagnose(lenient, changed(*ACCEPTED))
    assert [each.passed for each in diagnosis.checks] == [True] * 8, diagnosis.text()
    assert "held to be right: norm_eps_1e5, segment_all_zero" in diagnosis.text()
    for more in ("scale_missing", "norm_eps_1e6", "attention_dropout_missing", "pooler_detached"):
        rest = [each for each in ACCEPTED if not CATALOGUE[each].excludes(CATALOGUE[more])]
        diagnosis = diagnose(lenient, changed(*rest, more))
        assert diagnosis.explanations == [(more,)], diagnosis.text()
    assert not diagnose(lenient, changed()).passed  # the paper's BERT is not this course's


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        (["norm_eps1e5"], "did you mean one of"),
        (["loss_summed"], "no mistake of the model is called 'loss_summed'"),
        (["norm_eps_1e5", "norm_eps_1e6"], "exclude each other"),
    ],
)
def test_what_cannot_be_accepted_is_said(ids, words, capsys):
    with pytest.raises(ValueError, match=words):
        Checker(accept=ids)
    assert command("tests.diagnosis.own_berts:OtherWords", "--accept", ",".join(ids)) == 2
    assert words in capsys.readouterr().err


def test_the_command_accepts_what_the_page_for_teachers_lists(tmp_path):
    page = Path("tutorials/teachers.md").read_text(encoding="utf-8")
    options = re.findall(r"`--accept (\S+)`", page)
    assert len(options) == 7
    for option in options:
        Checker(accept=option.split(","))
    (tmp_path / "own.py").write_text(
        "import transformers\n"
        "class Own(transformers.BertModel):\n"
        "    def __init__(self, config):\n"
        "        config.layer_norm_eps = 1e-5\n"
        "        super().__init__(config)\n"
    )
    assert command(f"{tmp_path}/own.py:Own", "--accept", "norm_eps_1e5") == 0
    assert command(f"{tmp_path}/own.py:Own") == 1


def test_a_file_with_a_dataclass_can_be_imported(tmp_path):
    (tmp_path / "own.py").write_text(
        "from __future__ import annotations\nimport dataclasses\n"
        "@dataclasses.dataclass\nclass Config:\n    size: int = 3\n"
    )
    assert load_target(f"{tmp_path / 'own.py'}:Config")().size == 3


def test_the_command_takes_names_and_mistakes_of_ones_own(tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "names.json").write_text(json.dumps(students.NAMES))
    assert command("tests.diagnosis.own_berts:OtherWords", "--names", tmp_path / "names.json") == 0
    (tmp_path / "names.json").write_text("[1]")
    assert command("tests.diagnosis.own_berts:OtherWords", "--names", tmp_path / "names.json") == 2
    (tmp_path / "own.py").write_text(
        "from minibert.diagnosis.catalogue.mistake import attentions, mistake\n"
        "@mistake('attention', seen='a class')\n"
        "def own_slip(model):\n"
        "    'Divided by 3.\\n? Why?\\n@ There.\\n! Do not.'\n"
        "    for attention in attentions(model):\n"
        "        attention.scale = 1 / 3\n"
    )
    (tmp_path / "wrong.py").write_text(
        "import transformers\n"
        "class Wrong(transformers.BertModel):\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config)\n"
        "        for layer in self.encoder.layer:\n"
        "            layer.attention.self.scaling = 1 / 3\n"
    )
    capsys.readouterr()
    try:
        assert command(f"{tmp_path}/wrong.py:Wrong", "--mistakes", tmp_path / "own.py") == 1
        assert "Divided by 3." in capsys.readouterr().out
    finally:
        CATALOGUE.pop("own_slip", None)


def test_bad_files_are_refused_in_words(tmp_path):
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    for target, words in (
        (tmp_path / "bad.npz", "is not a readable .npz"),
        (tmp_path / "none.safetensors", "there is no file"),
        ("no.such.package:x", "cannot import no.such.package"),
    ):
        with pytest.raises(StudentError, match=words):
            load_target(str(target))


# ---- Relations ----


def place(right, yours):
    return Place("x", right, yours, right != yours, torch.ones_like(right, dtype=torch.bool))


def test_relations():
    generator = torch.Generator().manual_seed(0)
    right = torch.randn(2, 3, 5, 5, generator=generator, dtype=torch.float64)
    table = right.softmax(-1)
    for a, b, words in (
        (right, right * 5**0.5, "x 2.236"),
        (right, right * 0, "0 everywhere"),
        (right, right + 1, "yours = reference + 1"),
        (right, -right, "the sign is turned"),
        (right, right.transpose(-1, -2), "transposed"),
        (right, right.flip(-1), "reverse order"),
        (right, right.roll(1, -2), "within each text"),
        (right, right.roll(1, -1), "within each row"),
        (right, right[:, :2], "expected shape (2, 3, 5, 5), got (2, 2, 5, 5)"),
        (right[..., :4], right[..., :4].transpose(2, 3), "axes 2 and 3 are exchanged"),
        (table, right.softmax(-2), "columns (over the queries)"),
        (table, right.softmax(1), "the heads"),
        (table, (3 * right).softmax(-1), "the reference's scores x 3"),
        (right, right / 0, "NaN or infinite"),
    ):
        told = relations(place(a, b) if a.shape == b.shape else Place("x", a, b, a > 9, a > 9))
        assert any(words in sentence for sentence in told), (words, told)
    assert relations(place(right, right.sin())) == []
    bias = torch.randn(5, generator=generator, dtype=torch.float64)
    told = relations(place(right[0], right[0] - bias), {"pooler.dense.bias": bias})
    assert told == [
        "yours = reference - pooler.dense.bias",
        "the difference is the same vector at every token, as a bias would be",
    ] or told == ["yours = reference - pooler.dense.bias"]


def test_where():
    right = torch.zeros(2, 4, 3, 3)
    yours = right.clone()
    yours[:, 1] = 1
    assert where(place(right, yours)) == "25.0 % of its numbers, only in head 1"
    assert where(place(right, right + 1)) == "all of its numbers"


# ---- Right students in other words ----

QUIET = {"a function", "all in float32", "NumPy", "JAX"}  # no module: eval mode alone


ALWAYS = {  # the others are slow together
    *("softmax in float32", "one matrix for query, key and value", "torch's own attention"),
    *("fused attention", "padding taken out", "batch flattened", "lengths in place of a mask"),
    *("one head at a time", "JAX"),
}


@pytest.mark.parametrize(
    "words",
    [each if each in ALWAYS else pytest.param(each, marks=pytest.mark.slow) for each in RIGHT],
)
def test_a_right_student_in_other_words_is_right(checker, words):
    if words == "JAX":
        pytest.importorskip("jax", reason="JAX is not installed")
    diagnosis = diagnose(checker, RIGHT[words], NAMES)
    assert diagnosis.passed, diagnosis.text()
    if words not in QUIET:
        assert {"dropout", "gradients"} <= {c.name for c in diagnosis.checks if c.passed}, (
            diagnosis.text()
        )


def test_forty_right_students():
    assert set(RIGHT) > ALWAYS
    assert len(RIGHT) >= 40 + 1  # JAX may be absent


# ---- Other batches ----


class KeepsItsFirstMask(students.OtherWords):
    """A mask that is made at the first call, and used again at the next."""

    def forward(self, tokens, segments, mask):
        if not hasattr(self, "mask") or self.mask.shape != mask.shape:
            self.mask = mask.clone()
        return super().forward(tokens, segments, self.mask)


class KnowsOneShape(students.OtherWords):
    def forward(self, tokens, segments, mask):
        return super().forward(tokens.view(6, 7), segments, mask)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (KeepsItsFirstMask, "another order of the texts changes them"),
        (KnowsOneShape, "with more padding on the right, it fails: RuntimeError"),
    ],
)
def test_right_numbers_on_one_batch_alone_are_not_enough(checker, target, words):
    diagnosis = diagnose(checker, target, students.NAMES)
    (failed,) = (each for each in diagnosis.checks if each.passed is False)
    assert failed.name == "other batches" and words in failed.text


def test_the_pooler_is_judged_where_the_first_token_is_none_of_padding(checker):
    def zeroes_padding(config, weights):
        model = students.hugging_face(config, weights).bert

        def call(input_ids, token_type_ids, attention_mask):
            x = model(input_ids, attention_mask, token_type_ids).last_hidden_state
            x = x * attention_mask[..., None]
            return {"last_hidden_state": x, "pooler_output": model.pooler(x)}

        return call

    assert diagnose(checker, zeroes_padding).passed


# ---- So far explained ----


def unknown_scores(model):
    for attention in attentions(model):
        override(attention.scores, "forward", lambda original, x: original(x).tanh())


def test_behind_an_unknown_mistake_the_known_ones_are_named(checker):
    diagnosis = diagnose(checker, changed("gelu_tanh", "pooler_tanh_missing", unknown_scores))
    assert diagnosis.explanations == []
    assert diagnosis.so_far == [("gelu_tanh", "pooler_tanh_missing")]
    blocks_of = [f"encoder.blocks.{n}.attention.scores" for n in range(3)]
    assert diagnosis.unexplained == blocks_of
    text = diagnosis.text()
    assert "So far explained" in text and CATALOGUE["gelu_tanh"].symptom in text
    assert "the attention scores of blocks 0, 1, 2" in text
    assert CATALOGUE["gelu_tanh"].symptom not in diagnosis.text(hint=1)
    assert diagnosis.to_dict()["unexplained"] == blocks_of


def test_before_an_unknown_mistake_too_and_the_unknown_one_is_related(checker):
    def halved(model):
        for block in blocks(model):
            override(block.feed_forward.down, "forward", lambda original, x: original(x) / 2)

    diagnosis = diagnose(checker, changed("scale_missing", halved))
    assert diagnosis.so_far == [("scale_missing",)]
    assert diagnosis.unexplained[0] == "encoder.blocks.0.feed_forward.down"
    assert diagnosis.beyond[0].startswith("yours = reference x 0.5")
    assert "of the first: yours = reference x 0.5" in diagnosis.text()


def test_a_mistake_in_float32_is_named_beside_an_unknown_one_and_an_exact_one(checker):
    """To float32's precision the epsilon drowns; exactly, the rounded waves are none."""

    def swollen(model):
        linear = blocks(model)[1].attention.output
        override(linear, "forward", lambda original, x: original(x) * 1.1)

    known = ("norm_eps_outside_root", "position_sinusoidal")
    diagnosis = diagnose(checker, changed(*known, positions_rounded, swollen))
    assert diagnosis.so_far == [known], diagnosis.text()
    assert diagnosis.unexplained == ["encoder.blocks.1.attention.output"]


def test_a_step_that_was_given_up_is_tried_again_with_what_is_known_behind_it(checker):
    """What nn.TransformerEncoderLayer shows by name: three mistakes lie before its first norm."""
    made = ("attention_over_texts", "embedding_norm_missing", "norm_eps_1e5", "relu")
    ends = ("attention_norm", "feed_forward.up", "feed_forward.down", "output_norm", "hidden_state")
    shown = {}

    def look(name, inputs, output):
        if name.endswith(ends):
            shown[name] = output.clone()  # with padding, which these mistakes read

    checker.replay.tensors([CATALOGUE[each] for each in made], look)
    diagnosis = checker.check(Arrays(shown, checker.expected, checker.model.config))
    assert diagnosis.explanations == [made], diagnosis.text()


def test_more_mistakes_than_the_search_takes_are_named(checker):
    five = ["gelu_tanh", "norm_unbiased", "position_from_one", "scale_missing", "segment_all_zero"]
    assert diagnose(checker, changed(*five)).explanations == [tuple(five)]


def test_a_mistake_in_one_place_alone_is_not_named_for_all(checker):
    """Never half-true: the catalogue's epsilon is that of every LayerNorm."""

    def first_alone(model):
        model.bert.encoder.blocks[0].attention_norm.eps = 1e-5

    diagnosis = diagnose(checker, changed(first_alone))
    assert diagnosis.explanations == [] and diagnosis.so_far == []
    assert diagnosis.unexplained == ["encoder.blocks.0.attention_norm"]


def sines(first):
    """An unknown slip in the blocks from `first` on: each step gives the sine of what it should."""

    def change(model):
        for block in blocks(model)[first:]:
            for module in block.modules():
                if not any(module.children()) and not isinstance(module, torch.nn.Dropout):
                    override(module, "forward", lambda original, *x: original(*x).sin())

    return change


@pytest.mark.parametrize("each", ["relu", "norm_eps_1e5"])
def test_what_is_seen_in_one_block_alone_is_not_said_of_all(checker, each):
    """Nor its like that claims less: an epsilon of the embeddings alone, say."""
    diagnosis = diagnose(checker, changed(each, sines(1)))
    assert diagnosis.explanations == [] and diagnosis.so_far == [], diagnosis.text()
    assert diagnosis.unexplained[0] == diagnosis.tensor


def test_what_is_seen_outside_the_blocks_is_named_where_no_block_can_tell(checker):
    diagnosis = diagnose(checker, changed("norm_unbiased", sines(0)))
    assert diagnosis.so_far == [("norm_unbiased",)]


def test_blocks_exchanged_are_not_taken_for_one(checker):
    """Block 1 has the weights of block 0; the last, that would have its own, is not there."""

    def exchanged(model):
        stack = model.bert.encoder.blocks
        stack[0], stack[1] = stack[1], stack[0]

    shown = build(changed("last_block_missing", exchanged), checker.model, checker.expected, {})
    tensors = seen(shown.tensors(checker.batch), "states and attentions")
    diagnosis = checker.check(Arrays(tensors, checker.expected, checker.model.config))
    assert diagnosis.so_far == [("last_block_missing",)], diagnosis.text()


# ---- Linear layers and dropout ----


@pytest.mark.parametrize(
    ("kernel", "bias", "words"),
    [
        ("key.weight", "value.bias", "attention.key and the bias of encoder.blocks.0.attention.v"),
        ("query.weight", None, "blocks.0.attention.query and no bias makes of your input"),
        ("query.weight", "key.bias", "the bias of encoder.blocks.0.attention.key"),
    ],
)
def test_a_wrong_linear_layer_is_held_against_every_kernel_and_bias(checker, kernel, bias, words):
    def own(config, weights):
        model = students.mine(config, weights)
        attention = model.bert.encoder.blocks[0].attention
        matrix = attention.get_parameter(kernel).detach()
        vector = None if bias is None else attention.get_parameter(bias).detach()
        override(attention.query, "forward", lambda f, x: F.linear(x, matrix, vector))
        return explicit(model)

    diagnosis = diagnose(checker, own)
    assert any(words in sentence for sentence in diagnosis.relations), diagnosis.text()


def test_dropout_is_told_by_what_it_falls_on(checker):
    diagnosis = diagnose(checker, changed("dropout_after_activation"))
    assert any("falls on what leaves the activation" in each for each in diagnosis.relations)
    diagnosis = diagnose(checker, changed("attention_dropout_of_hidden_rate"))
    assert any("has the probability hidden_dropout_prob" in each for each in diagnosis.relations)


def test_a_layer_that_no_weights_fill_is_not_taken_for_dropout(checker):
    class FurtherLayer(students.OtherWords):
        def __init__(self, config):
            super().__init__(config)
            self.extra = torch.nn.Linear(config.hidden_size, 7 * config.hidden_size)

        def forward(self, tokens, segments, mask):
            x = super().forward(tokens, segments, mask)
            return x + self.extra(x)[..., : x.shape[-1]]

    checks = {c.name: c.passed for c in diagnose(checker, FurtherLayer, students.NAMES).checks}
    assert checks["repeatable"] is True and checks["numbers"] is False


# ---- What could not be looked at ----


def test_of_files_nothing_is_claimed_that_was_not_looked_at(checker):
    diagnosis = checker.check(Arrays(checker.expected, checker.expected, checker.model.config))
    assert diagnosis.passed
    states = {each.name: each.passed for each in diagnosis.checks}
    assert states["runs"] is None and "repeatable" not in states
    assert states["dropout"] is None and states["gradients"] is None


def test_what_ran_twice_and_what_has_no_name_is_said(checker):
    class Twice(students.OtherWords):
        def __init__(self, config):
            super().__init__(config)
            for layer in self.layers:
                layer.softmax = lambda scores: scores.softmax(-1) / 3

        def forward(self, tokens, segments, mask):
            self.first(self.places)
            self.layers[0].wq(self.places)
            return super().forward(tokens, segments, mask)

    diagnosis = diagnose(checker, Twice, students.NAMES)
    notes = " ".join(diagnosis.notes)
    assert diagnosis.tensor == "encoder.blocks.0.attention.output"
    assert "run more than once in one pass, and so not compared: the embeddings after" in notes
    assert "the queries of block 0" in notes
    assert "nothing of yours has a name known here for 4 steps, from the attention scores" in notes


# ---- Threads ----


def test_what_other_threads_run_meanwhile_is_neither_seen_nor_changed(checker):
    """At every call of the student, another thread runs the same module, dropout and all."""
    zeros = []

    class Neighbour(students.OtherWords):
        def forward(self, input_ids, token_type_ids, attention_mask):
            def other():
                super(Neighbour, self).forward(
                    input_ids.flip(0), 1 - token_type_ids, attention_mask.flip(0)
                )
                zeros.append(int((F.dropout(torch.ones(200), 0.5, True) == 0).sum()))

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            return super().forward(input_ids, token_type_ids, attention_mask)

    diagnosis = diagnose(checker, Neighbour, students.NAMES)
    alone = diagnose(checker, students.OtherWords, students.NAMES)
    assert diagnosis.passed, diagnosis.text()
    assert [str(check) for check in diagnosis.checks] == [str(check) for check in alone.checks]
    assert zeros and all(40 < each < 160 for each in zeros)


def test_two_checks_at_once_wait_for_each_other(checker):
    """Each replaces torch's dropout; woven into each other, they would leave it replaced."""
    dropout, answers = F.dropout, {}

    def check(number):
        answers[number] = diagnose(checker, students.hugging_face).passed

    threads = [threading.Thread(target=check, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {0: True, 1: True}
    assert F.dropout is dropout
