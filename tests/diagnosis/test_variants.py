"""`diagnose --variant`: transformers' models are right, and each known mistake is named."""

import copy

import pytest
import tokenizers
import torch
import transformers

from minibert.cli.main import main
from minibert.diagnosis.catalogue.mistake import patched
from minibert.diagnosis.catalogue.variants import MISTAKES, TEXT_MISTAKES
from minibert.diagnosis.students import StudentError
from minibert.diagnosis.traces import first_difference
from minibert.diagnosis.variant_checker import VariantChecker

RIGHT = {
    "distilbert": transformers.DistilBertForMaskedLM,
    "roberta": transformers.RobertaForMaskedLM,
    "xlm-roberta": transformers.XLMRobertaModel,
    "camembert": transformers.CamembertForMaskedLM,
    "albert": transformers.AlbertForMaskedLM,
    "electra": transformers.ElectraForPreTraining,
    "deberta-v2": transformers.DebertaV2ForMaskedLM,
}

OWN = """
import torch, transformers

class Wrong(transformers.RobertaModel):
    def forward(self, input_ids, attention_mask=None, **others):
        places = torch.arange(input_ids.shape[1]).expand_as(input_ids)
        return super().forward(
            input_ids, attention_mask=attention_mask, position_ids=places, **others
        )
"""


@pytest.mark.parametrize("variant", RIGHT)
def test_right_ports_and_known_mistakes(variant):
    """transformers' own model is right; each mistake shows, and no other one explains it."""
    checker = VariantChecker(variant)
    diagnosis = checker.check(RIGHT[variant])
    assert diagnosis.passed and len(diagnosis.checks) == 2 and not diagnosis.notes, diagnosis.text()
    assert len(MISTAKES[variant]) >= 4
    mask = checker.batch["attention_mask"]
    for name, mistake in MISTAKES[variant].items():
        with patched(checker.model, [mistake]):
            got = checker.numbers(checker.model)
        assert first_difference(checker.expected, got, mask) is not None, name
        assert checker.explain(got) == [(name,)]
    with patched(checker.model, ()):
        again = checker.numbers(checker.model)
    assert all(torch.equal(again[name], tensor) for name, tensor in checker.expected.items())


def test_two_mistakes_together():
    checker = VariantChecker("roberta")
    both = [MISTAKES["roberta"][name] for name in ("positions_from_zero", "tanh_gelu")]
    with patched(checker.model, both):
        got = checker.numbers(checker.model)
    assert checker.explain(got) == [("positions_from_zero", "tanh_gelu")]


def test_what_is_not_known_is_not_named():
    """Other numbers differ, and no mistake is claimed."""
    checker = VariantChecker("roberta")
    student = copy.deepcopy(checker.model)
    with torch.no_grad():
        student.bert.encoder.blocks[1].feed_forward.up.weight[3, 4] += 0.1
    diagnosis = checker.check(lambda config, weights: student)
    assert not diagnosis.passed and diagnosis.tensor == "hidden_states.2"
    assert diagnosis.explanations == [] and "No known mistake" in diagnosis.text()


def test_a_port_with_segments():
    """BERT itself as a DistilBERT: what DistilBERT lacks is said by name."""
    names = "albert", "distilbert"
    for name in names:
        with pytest.raises(StudentError):
            VariantChecker(name).check(torch.nn.Linear(3, 3))

    class WithSegments(transformers.RobertaModel):
        def __init__(self, config):
            super().__init__(config)
            self.extra = torch.nn.Embedding(2, config.hidden_size)

    diagnosis = VariantChecker("roberta").check(WithSegments)
    assert "has no extra.weight" in diagnosis.text()


def test_segments_and_a_wide_table():
    """A table of segments that the file has not is known by its numbers; one as wide as the hidden
    states, where the file's is narrow, by its shape."""

    class WithSegments(transformers.DistilBertModel):
        def __init__(self, config):
            super().__init__(config)
            self.embeddings.token_type_embeddings = torch.nn.Embedding(2, config.dim)

        def forward(self, input_ids, attention_mask=None, token_type_ids=None, **others):
            extra = self.embeddings.token_type_embeddings(token_type_ids)
            add = lambda module, inputs: (inputs[0] + extra,)  # noqa: E731
            handle = self.embeddings.LayerNorm.register_forward_pre_hook(add)
            try:
                return super().forward(input_ids, attention_mask=attention_mask, **others)
            finally:
                handle.remove()

    diagnosis = VariantChecker("distilbert").check(WithSegments)
    assert diagnosis.explanations == [("segments_added",)], diagnosis.text()

    class Wide(transformers.AlbertModel):
        def __init__(self, config):
            super().__init__(config)
            table = torch.nn.Embedding(config.vocab_size, config.hidden_size)
            self.embeddings.word_embeddings = table

    with pytest.raises(StudentError, match="has the width embedding_size"):
        VariantChecker("albert").check(Wide)


def test_tokenizers_of_roberta():
    """The reference is right, and each known mistake is named and no other."""
    checker = VariantChecker("roberta")

    def reference(text, vocab, merges):
        model = tokenizers.models.BPE(vocab, merges)
        theirs = tokenizers.Tokenizer(model)
        theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        return theirs.encode(text).tokens

    assert checker.check(reference).passed
    assert len(TEXT_MISTAKES) == 4
    for name, mistake in TEXT_MISTAKES.items():
        assert checker.check(mistake.change).explanations == [(name,)]
    other = checker.check(lambda text, vocab, merges: list(text))
    assert not other.passed and other.explanations == []
    with pytest.raises(StudentError, match="not for albert"):
        VariantChecker("albert").check(reference)


def test_on_the_command_line(tmp_path, capsys):
    (tmp_path / "port.py").write_text(OWN)
    assert main(["diagnose", "--variant", "roberta", f"{tmp_path}/port.py:Wrong"]) == 1
    text = capsys.readouterr().out
    assert "positions_from_zero" in text and "pad_token_id + 1" in text
    assert main(["diagnose", "--variant", "gpt2", f"{tmp_path}/port.py:Wrong"]) == 2
    assert "expected one of distilbert, roberta" in capsys.readouterr().err
    options = ["--variant", "roberta", "--accept", "relu"]
    assert main(["diagnose", *options, f"{tmp_path}/port.py:Wrong"]) == 2
    assert "--accept is for BERT itself" in capsys.readouterr().err
