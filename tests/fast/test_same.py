"""`embed` gives what `bert.model` gives, whatever became of the model since it was packed."""

import copy
import ctypes
import io
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

from minibert.bert import Bert
from minibert.core.attention import BertAttention
from minibert.core.config import BertConfig
from minibert.fast.readable import Readable
from minibert.fast.same import what_differs
from minibert.tokenizer.tokenizer import Tokenizer
from minibert.weights.loading import LoadReport
from tests.parity.twins import trained_like, twin_of

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnop"]
CONFIG = BertConfig(
    vocab_size=len(WORDS),
    hidden_size=24,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=44,
    max_position_embeddings=16,
)
FEW = ["a b c", "d", "e f g h i j k l", "b b"]
BFLOAT16 = {"precision": "bfloat16", "even_if_slow": True}
MANY = FEW * 150  # enough to be run on packed weights


def new_bert() -> Bert:
    model = trained_like(CONFIG).float()
    return Bert(model, Tokenizer(WORDS, model_max_length=16), LoadReport((), {}, {}, (), ""))


def expected(bert, texts=FEW):
    """The mean of the readable model's states, text by text."""
    with torch.no_grad():
        outputs = [bert.model(**bert.tokenizer([text])) for text in texts]
    return np.stack([output.last_hidden_state[0].mean(0).numpy() for output in outputs])


def assert_embeds_like_the_model(bert):
    right = expected(bert)
    assert np.abs(bert.embed(FEW) - right).max() < 1e-5
    assert np.abs(bert.embed(MANY)[:4] - right).max() < 1e-5
    assert np.abs(bert.embed(FEW, deterministic=True) - right).max() < 1e-5


def training(**settings):
    def train(model):
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, **settings)
        model.train()
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.tensor([[2, 5, 6, 3]])).last_hidden_state.square().sum().backward()
            optimizer.step()
        model.eval()

    return train


def query(model):
    return model.encoder.blocks[1].attention.query


class LowRank(nn.Module):
    """As LoRA wraps a layer."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.down = inner, nn.Linear(24, 2, bias=False)

    def forward(self, x):
        return self.inner(x) + self.down(x).repeat(1, 1, 12)


class Louder(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def replaced(name, make):
    def change(model):
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, make(model.get_submodule(name)))

    return change


def louder(module, inputs, output):
    if isinstance(output, torch.Tensor):
        return output * 1.5
    return (output[0] * 1.5, *output[1:])


def written_by_address(model):
    weight = query(model).weight
    ctypes.memset(weight.data_ptr(), 0, weight.numel() * 4)


def written_by_numpy(model):
    query(model).weight.detach().numpy()[3] += 0.5


def with_rows_exchanged(model):
    for layer in (query(model), model.encoder.blocks[1].attention.value):
        layer.weight.data.copy_(layer.weight.data.roll(6, 0))


def with_columns_exchanged(model):
    query(model).weight.data.copy_(query(model).weight.data.flip(1))


def turned(model):
    query(model).weight.data = query(model).weight.data.T


def set_data(model):
    query(model).weight.data = query(model).weight.data * 0.5


def loaded(assign):
    def load(model):
        state = trained_like(CONFIG, seed=1).float().bert.state_dict()
        model.load_state_dict(state, assign=assign)

    return load


def by_foreach(model):
    torch._foreach_mul_([parameter.data for parameter in model.encoder.parameters()], 1.1)


def with_other_eps(model):
    model.encoder.blocks[0].output_norm.eps = 0.5


def with_other_heads(model):
    for block in model.encoder.blocks:
        block.attention.heads = 2


def with_tanh(model):
    model.encoder.blocks[2].feed_forward.activation = nn.ReLU()


def cut(model):
    model.encoder.blocks = model.encoder.blocks[:2]


def cut_in_place(model):
    del model.encoder.blocks[0]


def longer(model):
    model.encoder.blocks.append(copy.deepcopy(model.encoder.blocks[0]))


def shared(model):
    model.encoder.blocks[2] = model.encoder.blocks[0]


def in_another_order(model):
    blocks = model.encoder.blocks
    blocks[0], blocks[2] = blocks[2], blocks[0]


def wrapped_blocks(model):
    model.encoder.blocks = nn.Sequential(*model.encoder.blocks)


def parametrized(model):
    parametrize.register_parametrization(query(model), "weight", Doubled())


def old_weight_norm(model):
    torch.nn.utils.weight_norm(query(model))
    query(model).weight_g.data *= 2


def own_forward(model):
    inner = model.encoder.blocks[1].attention.forward
    model.encoder.blocks[1].attention.forward = lambda *a, **k: louder(None, a, inner(*a, **k))


def short_embeddings(model):
    model.embeddings.token.max_norm = 0.5


def narrow_heads(model):
    """Heads pruned to four numbers for query and key, and to six for value as before."""
    attention = model.encoder.blocks[1].attention
    for layer in (attention.query, attention.key):
        layer.weight = nn.Parameter(layer.weight.data[:16])
        layer.bias = nn.Parameter(layer.bias.data[:16])


CHANGES = {
    "fused optimizer": training(fused=True),
    "foreach optimizer": training(foreach=True),
    "plain optimizer": training(foreach=False),
    "data": lambda model: model.encoder.blocks[2].feed_forward.up.weight.data.add_(0.1),
    "data of one number": lambda model: query(model).weight.data[3, 4].add_(0.5),
    "data of a bias": lambda model: query(model).bias.data.add_(0.5),
    "data of a norm": lambda model: model.embeddings.norm.weight.data.mul_(1.5),
    "data of an embedding": lambda model: model.embeddings.position.weight.data.mul_(1.5),
    "other data": set_data,
    "turned data": turned,
    "by address": written_by_address,
    "by numpy": written_by_numpy,
    "rows exchanged": with_rows_exchanged,
    "columns exchanged": with_columns_exchanged,
    "foreach": by_foreach,
    "loaded": loaded(assign=False),
    "loaded by assignment": loaded(assign=True),
    "eps": with_other_eps,
    "heads": with_other_heads,
    "pruned heads": narrow_heads,
    "activation": with_tanh,
    "max_norm": short_embeddings,
    "fewer blocks": cut,
    "a block less": cut_in_place,
    "a block more": longer,
    "shared block": shared,
    "blocks in another order": in_another_order,
    "blocks in a Sequential": wrapped_blocks,
    "LoRA": replaced("encoder.blocks.1.attention.query", LowRank),
    "norm replaced": replaced("encoder.blocks.1.output_norm", lambda norm: nn.Identity()),
    "embeddings' norm replaced": replaced("embeddings.norm", lambda norm: nn.Tanh()),
    "encoder wrapped": replaced("encoder.blocks.1.feed_forward", lambda f: nn.Sequential(f, f)),
    "parametrization": parametrized,
    "weight norm": lambda model: parametrizations.weight_norm(query(model)),
    "spectral norm": lambda model: parametrizations.spectral_norm(query(model)).eval(),
    "old weight norm": old_weight_norm,
    "pruned": lambda model: prune.l1_unstructured(query(model), "weight", 0.5),
    "forward of its own": own_forward,
    "class of a layer": lambda model: setattr(query(model), "__class__", Louder),
    "hook on a block": lambda model: model.encoder.blocks[1].register_forward_hook(louder),
    "hook on a leaf": lambda model: query(model).register_forward_hook(louder),
    "hook on a name": lambda model: model.encoder.blocks[1].attention.context.register_forward_hook(
        louder
    ),
    "hook on the encoder": lambda model: model.encoder.register_forward_hook(louder),
    "hook on the model": lambda model: model.register_forward_hook(
        lambda module, inputs, output: output._replace(last_hidden_state=output[0] * 2)
    ),
    "pre-hook": lambda model: model.encoder.blocks[1].register_forward_pre_hook(
        lambda module, inputs: (inputs[0] * 2, *inputs[1:])
    ),
    "hook with names": lambda model: model.encoder.register_forward_hook(
        lambda module, inputs, names, output: louder(module, inputs, output), with_kwargs=True
    ),
    "sliced embeddings": lambda model: model.embeddings.register_forward_hook(louder),
}
SAME = {"weight norm", "blocks in a Sequential"}  # the numbers stay, in other hands


@pytest.mark.parametrize("name", CHANGES)
def test_embed_gives_what_the_model_gives(name):
    bert = new_bert()
    assert_embeds_like_the_model(bert)
    before = expected(bert)
    CHANGES[name](bert.model)
    assert name in SAME or np.abs(expected(bert) - before).max() > 1e-3, "changes nothing"
    assert_embeds_like_the_model(bert)


def test_trained_weights_equal_transformers():
    """The same against the reference: packed, trained by a fused optimizer, embedded again."""
    bert = new_bert()
    bert.embed(MANY)
    training(fused=True)(bert.model)
    twin = twin_of(bert.pretraining).bert
    with torch.no_grad():
        states = [twin(**bert.tokenizer([text])).last_hidden_state[0].mean(0) for text in FEW]
    assert np.abs(bert.embed(MANY)[:4] - torch.stack(states).numpy()).max() < 1e-5


def test_hooks_for_all_modules_and_methods_of_a_class(monkeypatch):
    bert = new_bert()
    bert.embed(MANY)
    plain = expected(bert)
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: (
            output * 2 if isinstance(module, nn.Softmax | nn.GELU) else None
        )
    )
    try:
        assert np.abs(expected(bert) - plain).max() > 1e-3
        assert_embeds_like_the_model(bert)
    finally:
        hook.remove()
    with monkeypatch.context() as patch:
        inner = BertAttention.forward
        patch.setattr(BertAttention, "forward", lambda *a, **k: louder(None, a, inner(*a, **k)))
        assert np.abs(expected(bert) - plain).max() > 1e-3
        assert_embeds_like_the_model(bert)
    assert_embeds_like_the_model(bert)
    assert not isinstance(bert._engine.for_tokens(1), Readable), "all is as before"


def test_a_hook_that_is_removed_leaves_the_fast_way_open():
    bert = new_bert()
    bert.embed(MANY)
    packed = bert._engine.for_tokens(1000)
    for register in (
        bert.model.encoder.register_forward_hook,
        bert.model.encoder.register_forward_pre_hook,
        bert.model.encoder.register_full_backward_hook,
        bert.model.encoder.register_full_backward_pre_hook,
    ):
        hook = register(lambda *arguments: None)
        assert isinstance(bert._engine.for_tokens(1000), Readable)
        hook.remove()
        assert bert._engine.for_tokens(1000) is packed


def test_what_computes_the_same_stays_fast():
    bert = new_bert()
    bert.model.requires_grad_(False)
    bert.model.name = "mine"
    assert what_differs(bert.model) == ""
    bert.embed(MANY)
    assert bert._engine.for_tokens(1000) is bert._engine.for_tokens(1000)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_another_dtype(dtype):
    bert = new_bert()
    bert.embed(MANY)
    bert.model.to(dtype)
    close = 1e-6 if dtype == torch.float64 else 0.1
    with torch.no_grad():
        states = [bert.model(**bert.tokenizer([text])).last_hidden_state[0] for text in FEW]
    right = np.stack([state.float().mean(0).numpy() for state in states])
    for _ in range(2):
        assert np.abs(bert.embed(MANY)[:4] - right).max() < close
        bert.model.encoder.blocks[0].feed_forward.up.weight.data[0, 0] += 0.01
        before = bert._engine.copies.copy()
        bert.embed(MANY)
        assert bert._engine.copies != before, "one number of a matrix is noticed in any dtype"
        bert.model.encoder.blocks[0].feed_forward.up.weight.data[0, 0] -= 0.01


def test_weights_of_two_dtypes_are_an_error_as_in_the_model():
    bert = new_bert()
    bert.embed(MANY)
    bert.model.encoder.blocks[1].double()
    for run in (expected, lambda bert: bert.embed(MANY)):
        with pytest.raises(RuntimeError, match="dtype|type"):
            run(bert)


def test_the_pooler():
    bert = new_bert()

    def check():
        with torch.no_grad():
            rows = [bert.model(**bert.tokenizer([text])).pooler_output[0] for text in FEW]
        right = torch.stack(rows).numpy()
        for texts in (FEW, MANY):
            assert np.abs(bert.embed(texts, pooling="pooler")[:4] - right).max() < 1e-5

    class Middle(nn.Module):
        def forward(self, states):
            return states.mean(dim=1)

    check()
    bert.model.pooler.dense.weight.data *= 0.5
    check()
    hook = bert.model.register_forward_hook(lambda m, i, o: o._replace(pooler_output=o[1] * 2))
    check()
    hook.remove()
    bert.model.pooler.register_forward_hook(lambda m, i, o: o + i[0].sum(1))
    check()
    bert.model.pooler = Middle()
    check()


def test_other_layers_of_a_changed_list():
    bert = new_bert()
    bert.embed(MANY)
    cut(bert.model)
    batch = bert.tokenizer(["a b c"])
    with torch.no_grad():
        states = bert.model(**batch, output_hidden_states=True).hidden_states
    assert len(states) == 3
    for layer in (-3, -1, 0, 1, 2):
        got = bert.embed(["a b c"], layer=layer)[0]
        assert np.abs(got - states[layer][0].mean(0).numpy()).max() < 1e-5
    with pytest.raises(ValueError, match=r"layer must lie in -3\.\.2, got 3"):
        bert.embed(["a"], layer=3)
    bert.model.encoder.blocks[0].register_forward_hook(louder)
    for layer in (0, 1, 2):
        with torch.no_grad():
            states = bert.model(**batch, output_hidden_states=True).hidden_states
        got = bert.embed(["a b c"], layer=layer)[0]
        assert np.abs(got - states[layer][0].mean(0).numpy()).max() < 1e-5


def test_train_mode():
    """Dropout is left out, or the answer is refused."""
    bert = new_bert()
    right = expected(bert)
    bert.model.train()
    assert np.abs(bert.embed(FEW) - right).max() < 1e-5
    assert np.abs(bert.embed(MANY)[:4] - right).max() < 1e-5
    hook = bert.model.encoder.register_forward_hook(louder)
    with pytest.raises(ValueError, match=r"train mode.*encoder: a hook is registered.*eval\(\)"):
        bert.embed(FEW)
    hook.remove()
    bert.model.eval()
    for module in bert.model.modules():
        module.training = isinstance(module, nn.Dropout)  # dropout on purpose, to see its spread
    assert not np.array_equal(bert.embed(FEW), bert.embed(FEW))


def test_a_copy_that_cannot_be_made_is_refused():
    bert = new_bert()
    hook = bert.model.encoder.blocks[2].register_forward_hook(louder)
    for settings in (BFLOAT16, {"compile": True}):
        with pytest.raises(ValueError, match="encoder.blocks.2: a hook is registered. Undo that"):
            bert.embed(FEW, **settings)
    hook.remove()
    bert.embed(FEW, **BFLOAT16)


def test_lower_precision_follows_the_weights():
    bert = new_bert()
    bert.embed(FEW, **BFLOAT16)
    bert.model.encoder.blocks[2].feed_forward.up.weight.data.zero_()
    assert np.abs(bert.embed(FEW, **BFLOAT16) - expected(bert)).max() < 0.1


def test_nan_is_no_change():
    bert = new_bert()
    bert.model.encoder.blocks[0].feed_forward.up.weight.data[0, 0] = torch.nan
    bert.embed(MANY)
    assert bert._engine.for_tokens(1000) is bert._engine.for_tokens(1000)


def test_what_a_hook_keeps_can_be_trained_with():
    """Nothing made in inference mode gets out."""
    bert = new_bert()
    seen = []
    bert.model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    bert.embed(FEW)
    layer = nn.Linear(24, 2)
    layer(seen[0]).sum().backward()
    assert layer.weight.grad is not None


@pytest.mark.parametrize("settings", [{}, BFLOAT16])
def test_autocast_around_embed(settings):
    bert = new_bert()
    for texts in (FEW, MANY):
        alone = bert.embed(texts, **settings)
        tokens = bert.embed(texts, pooling="none", **settings)
        with torch.autocast("cpu", torch.bfloat16):
            assert np.array_equal(bert.embed(texts, **settings), alone)
            again = bert.embed(texts, pooling="none", **settings)
            assert torch.is_autocast_enabled("cpu")
        assert np.array_equal(tokens[2].vectors, again[2].vectors)
    bert.model.encoder.register_forward_hook(lambda *arguments: None)
    with torch.autocast("cpu", torch.bfloat16):
        assert np.abs(bert.embed(FEW) - expected(bert)).max() > 1e-4, "the model follows it"
        inside = bert.embed(FEW)
    assert np.abs(inside - expected(bert)).max() < 1e-5


def test_used_berts_travel():
    bert = new_bert()
    vectors = bert.embed(MANY, **BFLOAT16), bert.embed(MANY)
    file = io.BytesIO()
    torch.save(bert, file)
    file.seek(0)
    for again in (
        pickle.loads(pickle.dumps(bert)),
        copy.deepcopy(bert),
        copy.copy(bert),
        torch.load(file, weights_only=False),
    ):
        assert np.abs(again.embed(MANY) - vectors[1]).max() < 1e-5
        assert again._engine.model is again.model
    deep = copy.deepcopy(bert)
    deep.model.encoder.blocks[0].attention.query.weight.data.zero_()
    assert_embeds_like_the_model(deep)
    assert np.array_equal(bert.embed(MANY), vectors[1])


@pytest.mark.slow
def test_used_berts_in_workers():
    bert = new_bert()
    right = bert.embed(MANY)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert np.abs(pool.submit(bert.embed, MANY).result() - right).max() < 1e-5


def test_threads_with_different_settings():
    """While one thread changes the weights back and forth, so that copies are made all the time."""
    bert = new_bert()
    settings = [
        {},
        BFLOAT16,
        {"deterministic": True},
        {"precision": "float32"},
        {"layer": 1},
    ]
    right = [bert.embed(MANY, **setting) for setting in settings]
    done = threading.Event()
    weight = bert.model.encoder.blocks[0].attention.query.weight

    def move():
        while not done.wait(0.02):
            weight.data = weight.data.clone()

    mover = threading.Thread(target=move)
    mover.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            jobs = [(n % 5, pool.submit(bert.embed, MANY, **settings[n % 5])) for n in range(24)]
            for n, job in jobs:
                assert np.abs(job.result() - right[n]).max() < 1e-5
    finally:
        done.set()
        mover.join()
