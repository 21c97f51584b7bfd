"""The catalogue: every known mistake, in the order in which mistakes are applied.

>>> CATALOGUE["scale_missing"].symptom
'The scores are not divided by the square root of the head size.'
"""

from minibert.diagnosis.catalogue import (  # noqa: F401  (importing them fills the catalogue)
    attention,
    block,
    embeddings,
    functions,
    heads,
    mask,
    task_models,
    tasks,
    text,
    training,
)
from minibert.diagnosis.catalogue.mistake import CATALOGUE, Mistake

__all__ = ["CATALOGUE", "EQUIVALENT", "Mistake", "model_mistakes"]

# Mistakes that change nothing in the model's outputs, and why.
EQUIVALENT = {
    "key_bias_missing": (
        "the key's bias adds the same number to all scores of one query, which softmax takes "
        "away again: only the keys and the scores themselves differ"
    ),
    "norm_tiny_eps_outside_root": (
        "the epsilon of 1e-12 is far below every variance: inside the root or outside, the "
        "numbers agree to ten digits"
    ),
}


def model_mistakes() -> list[Mistake]:
    """The mistakes of kind "model", in the order of the catalogue."""
    return [each for each in CATALOGUE.values() if each.kind == "model"]
