"""Known mistakes of masking, losses, pooling and the optimizer: wrong functions.

Each stands where a function of `functions.py` should stand, and takes the same arguments.
"""

from functools import partial

import torch
import torch.nn.functional as F

from minibert.core.checks import IGNORE
from minibert.diagnosis.catalogue.mistake import Variant, mistake
from minibert.diagnosis.functions import MASK_ID, mask_tokens

wrong_masking = partial(mistake, "masking", kind="function", replaces="mask_tokens")
wrong_loss = partial(mistake, "loss", kind="function", replaces="masked_word_loss")
wrong_pool = partial(mistake, "use", kind="function", replaces="mean_pool")


@wrong_masking(seen="graykode/nlp-tutorial; codertimo/BERT-pytorch")
def specials_masked(input_ids, chosen, action, random_ids):
    """[CLS], [SEP] and [PAD] are masked and predicted, too.

    ? Is there anything to learn in predicting [PAD]?
    @ Special tokens are never chosen.
    ! Leave out the ids of special tokens before choosing.
    """
    predicted = chosen < 0.15
    ids = torch.where(predicted & (action >= 0.8) & (action < 0.9), random_ids, input_ids)
    ids = ids.masked_fill(predicted & (action < 0.8), MASK_ID)
    return ids, input_ids.masked_fill(~predicted, IGNORE)


@wrong_masking(seen="first versions of many re-implementations")
def always_masked(input_ids, chosen, action, random_ids):
    """Every chosen token becomes [MASK].

    ? Will the model see [MASK] when it is used? What should it then do with real words?
    @ Of the chosen tokens, 80 % become [MASK]; there are two other cases.
    ! 80 % [MASK], 10 % a random word, 10 % unchanged.
    """
    return mask_tokens(input_ids, chosen, torch.zeros_like(action), random_ids)


@wrong_masking(seen="labels made by comparing ids before and after")
def kept_not_labelled(input_ids, chosen, action, random_ids):
    """Chosen tokens that are left as they are get no label.

    ? Why are 10 % of the chosen tokens left as they are?
    @ A chosen token is predicted, whatever became of it.
    ! Labels at all chosen places, not only where the id changed.
    """
    ids, labels = mask_tokens(input_ids, chosen, action, random_ids)
    return ids, labels.masked_fill(ids == input_ids, IGNORE)


@wrong_masking(seen="graykode/nlp-tutorial; huggingface/transformers forum threads")
def labels_everywhere(input_ids, chosen, action, random_ids):
    """All tokens get a label, not the chosen ones alone.

    ? At how many of 100 places is the loss taken?
    @ A label is -100 wherever nothing is to be predicted.
    ! labels[~chosen] = -100.
    """
    ids, _ = mask_tokens(input_ids, chosen, action, random_ids)
    return ids, input_ids.clone()


@wrong_masking(seen="codertimo/BERT-pytorch#49")
def unlabelled_is_zero(input_ids, chosen, action, random_ids):
    """Places that are not chosen get the label 0 instead of -100.

    ? Which word has id 0?
    @ The loss must be able to tell 'no label' from a word.
    ! labels[~chosen] = -100.
    """
    ids, labels = mask_tokens(input_ids, chosen, action, random_ids)
    return ids, labels.masked_fill(labels == IGNORE, 0)


@wrong_masking(seen="labels = ids without clone()")
def labels_after_masking(input_ids, chosen, action, random_ids):
    """The labels are read from the ids after masking.

    ? Which word should the model find at a place where it sees [MASK]?
    @ Two tensors share their memory, or the order of two lines is wrong.
    ! Copy the ids for the labels before you change them.
    """
    ids, labels = mask_tokens(input_ids, chosen, action, random_ids)
    return ids, torch.where(labels == IGNORE, labels, ids)


@wrong_masking()
def random_and_kept_exchanged(input_ids, chosen, action, random_ids):
    """The random words take the places of those that should stay, and the other way round.

    ? Which share of the chosen tokens is replaced by a random word?
    @ Look at the limits 0.8 and 0.9.
    ! action in [0.8, 0.9): random word; action >= 0.9: unchanged.
    """
    turned = torch.where(action >= 0.9, 0.85, torch.where(action >= 0.8, 0.95, action))
    return mask_tokens(input_ids, chosen, turned, random_ids)


@wrong_loss(seen="graykode/nlp-tutorial; codertimo/BERT-pytorch#49")
def unlabelled_counted(logits, labels):
    """Places without a label are counted, as if their word were [PAD].

    ? Over which places is the loss taken, and by what is the sum divided?
    @ -100 means: no loss here.
    ! cross_entropy(..., ignore_index=-100).
    """
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten().clamp(min=0))


@wrong_loss(seen="reduction='sum'")
def loss_summed(logits, labels):
    """The loss is summed, not averaged.

    ? Over which places is the loss taken, and by what is the sum divided?
    @ Does your loss grow with the batch?
    ! Divide by the number of labelled places.
    """
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")


@wrong_loss(seen="loss.mean() over masked losses")
def loss_over_all_places(logits, labels):
    """The sum is divided by all places, not by the labelled ones.

    ? Over which places is the loss taken, and by what is the sum divided?
    @ A batch with twice the padding must have the same loss.
    ! Divide by the number of labelled places.
    """
    return loss_summed(logits, labels) / labels.numel()


@wrong_loss(seen="averaging over devices or accumulation steps")
def loss_text_by_text(logits, labels):
    """The loss is averaged within each text first, and then over the texts.

    ? Over which places is the loss taken, and by what is the sum divided?
    @ A text with few labels counts as much as one with many.
    ! One mean over all labelled places of the batch.
    """
    each = [F.cross_entropy(a, b) for a, b in zip(logits, labels, strict=True)]
    return torch.stack(each).mean()


@wrong_loss(seen="softmax before nn.CrossEntropyLoss")
def loss_of_probabilities(logits, labels):
    """Softmax is applied before cross-entropy, which applies it again.

    ? Which function does cross-entropy apply to what it gets?
    @ The loss cannot fall far below log V - 1.
    ! Give the scores to cross_entropy as they are.
    """
    return F.cross_entropy(logits.softmax(-1).flatten(0, -2), labels.flatten())


@wrong_loss()
def loss_negative(logits, labels):
    """The sign is turned: the loss is negative.

    ? Is the logarithm of a probability positive?
    @ What is minimised is minus the log-probability.
    ! -log p.
    """
    return -F.cross_entropy(logits.flatten(0, -2), labels.flatten())


@wrong_pool(seen="jina-ai/clip-as-service#85; huggingface/transformers#3150")
def pool_over_padding(states, attention_mask):
    """The mean runs over padding, too.

    ? Does the vector of a text change when it is padded further?
    @ The mask takes no part in the mean.
    ! Sum the real tokens, divide by their number.
    """
    return states.mean(dim=1)


@wrong_pool(seen="(states * mask).mean(dim=1)")
def pool_divided_by_length(states, attention_mask):
    """The sum leaves padding out, but is divided by all tokens.

    ? By what do you divide?
    @ Short texts get short vectors.
    ! Divide by the number of real tokens, mask.sum(dim=1).
    """
    return (states * attention_mask[:, :, None]).mean(dim=1)


@wrong_pool()
def pool_summed(states, attention_mask):
    """The sum is not divided.

    ? By what do you divide?
    @ Long texts get long vectors.
    ! Divide by the number of real tokens, mask.sum(dim=1).
    """
    return (states * attention_mask[:, :, None]).sum(dim=1)


@wrong_pool(seen="google-research/bert#164; UKPLab/sentence-transformers#80")
def pool_first_token(states, attention_mask):
    """The vector of [CLS] is taken instead of the mean.

    ? What was [CLS] trained for?
    @ Only one token takes part.
    ! The mean over all real tokens.
    """
    return states[:, 0]


@wrong_pool()
def pool_over_features(states, attention_mask):
    """The mean runs over the features instead of the tokens.

    ? Which axis are the tokens?
    @ Look at the dim of the sum.
    ! dim=1, the tokens.
    """
    return (states * attention_mask[:, :, None]).mean(dim=2)


@wrong_pool(seen="bert-as-service's variants; a choice, but not this one")
def pool_without_specials(states, attention_mask):
    """[CLS] and [SEP] are left out of the mean.

    ? Are [CLS] and [SEP] padding?
    @ The mask says which tokens take part.
    ! All tokens whose mask is 1.
    """
    mask = attention_mask.clone()
    rows = torch.arange(len(mask))
    first = mask.argmax(dim=1)
    last = mask.shape[1] - 1 - mask.flip(1).argmax(dim=1)
    mask[rows, first] = 0
    mask[rows, last] = 0
    return (states * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def right_direction(m, v, step):
    return m / (1 - 0.9**step) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)


def adam(
    parameter,
    gradient,
    m,
    v,
    step,
    *,
    direction=right_direction,
    rate=lambda step: 0.01,
    decay=0.1,
    decayed=lambda old, new: old,
    l2=0.0,
):
    """AdamW with its parts open to change; unchanged, it is adamw_step."""
    gradient = gradient + l2 * parameter
    m = 0.9 * m + 0.1 * gradient
    v = 0.999 * v + 0.001 * gradient**2
    moved = parameter - 0.01 * direction(m, v, step)
    return moved - rate(step) * decay * decayed(parameter, moved), m, v


def wrong_part(part, **others):
    """Enter the decorated value, or function, as a wrong part of AdamW."""

    def enter(function):
        change = Variant(adam, **function())
        change.__name__, change.__doc__ = function.__name__, function.__doc__
        where = {"kind": "function", "replaces": "adamw_step", "changes": part}
        mistake("optimizer", **where, **others)(change)
        return function

    return enter


wrong_direction = partial(
    wrong_part,
    "direction",
    hints="! m_hat / (sqrt(v_hat) + eps), where m_hat = m / (1 - beta1**t), "
    "v_hat = v / (1 - beta2**t).",
)
wrong_decay = partial(
    wrong_part,
    hints="@ Weight decay is decoupled: parameter -= lr * decay * parameter, beside the Adam step.",
)


@wrong_direction(seen="google-research/bert#153, an oversight; huggingface/transformers#420")
def no_bias_correction():
    """The moments are not corrected for their start at zero.

    ? In the very first step, how large is the move of a parameter with a gradient of 5?
    @ m and v start at 0, so their first values are too small.
    """
    return {"direction": lambda m, v, step: m / (v.sqrt() + 1e-8)}


@wrong_direction()
def first_moment_corrected_only():
    """Only the first moment is corrected for its start at zero.

    ? In the very first step, how large is the move of a parameter with a gradient of 5?
    @ There are two moments.
    """
    return {"direction": lambda m, v, step: m / (1 - 0.9**step) / (v.sqrt() + 1e-8)}


@wrong_direction(seen="a public course solution")
def eps_outside_quotient():
    """eps is added to the quotient instead of to the root: m / sqrt(v) + eps.

    ? What is m / sqrt(v) + eps, and what is m / (sqrt(v) + eps)?
    @ Brackets.
    """

    def direction(m, v, step):
        return m / (1 - 0.9**step) / (v / (1 - 0.999**step)).sqrt() + 1e-8

    return {"direction": direction}


@wrong_direction()
def eps_inside_root():
    """eps stands inside the root.

    ? Is eps added to v or to its root?
    @ Look at parameters with tiny gradients.
    """

    def direction(m, v, step):
        return m / (1 - 0.9**step) / (v / (1 - 0.999**step) + 1e-8).sqrt()

    return {"direction": direction}


@wrong_direction(
    seen="the 'efficient' form in section 2 of the Adam paper, used in course skeletons"
)
def eps_before_correction():
    """eps is added before the second moment is corrected.

    ? To which root is eps added: that of v, or that of the corrected v?
    @ Look at parameters with tiny gradients.
    """

    def direction(m, v, step):
        return m / (1 - 0.9**step) * (1 - 0.999**step) ** 0.5 / (v.sqrt() + 1e-8)

    return {"direction": direction}


@wrong_decay(
    "decay+decay of+decay rate",
    seen="torch.optim.Adam(weight_decay=...); the reason AdamW was written",
)
def decay_in_gradient():
    """Weight decay is added to the gradient (that is L2 in Adam, not AdamW).

    ? Do the moments know of the weight decay?
    ! Leave the gradient alone; subtract lr * decay * parameter.
    """
    return {"l2": 0.1, "decay": 0.0}


@wrong_decay("decay rate", seen="a public course solution")
def decay_with_corrected_rate():
    """Weight decay is multiplied by the bias-corrected step size.

    ? By which learning rate is the decay multiplied?
    ! lr itself, not lr * sqrt(1 - beta2**t) / (1 - beta1**t).
    """
    return {"rate": lambda step: 0.01 * (1 - 0.999**step) ** 0.5 / (1 - 0.9**step)}


@wrong_decay("decay", seen="a public course solution")
def decay_sign_turned():
    """Weight decay has the wrong sign: the weights grow.

    ? Without any gradient, should a weight grow or shrink?
    ! parameter - lr * decay * parameter.
    """
    return {"decay": -0.1}


@wrong_decay("decay rate", seen="algorithm 2 of the paper read with a schedule of 1")
def decay_without_rate():
    """Weight decay is not multiplied by the learning rate.

    ? How much does a weight shrink in one step when the learning rate is 0.01?
    ! lr * decay * parameter.
    """
    return {"rate": lambda step: 1.0}


@wrong_decay("decay+decay of+decay rate", seen="unfinished course solutions")
def decay_missing():
    """There is no weight decay.

    ? Without any gradient, should a weight stay as it is?
    ! parameter - lr * decay * parameter.
    """
    return {"decay": 0.0}


@wrong_part("direction")
def step_sign_turned():
    """The parameter is moved along the gradient, not against it.

    ? Does your loss rise?
    @ Look at the sign of the step.
    ! parameter - lr * direction.
    """
    return {"direction": lambda m, v, step: -right_direction(m, v, step)}


@wrong_decay("decay of", seen="the AdamW of a well-known course, where it is so by definition")
def decay_of_new_parameter():
    """Weight decay is taken of the new parameter, after the step, not of the old one.

    ? Of which value is lr * decay taken: that before the step, or that after it?
    ! old - lr * direction - lr * decay * old.
    """
    return {"decayed": lambda old, new: new}
