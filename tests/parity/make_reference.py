"""Write data/reference.npz: transformers' float64 results for a tiny trained-like BERT.

Run it once, from the repository root: python -m tests.parity.make_reference. The file is
committed, so that rung 1 of the parity ladder compares with numbers that no later change can move.
"""

from pathlib import Path

import numpy as np
import torch
import transformers

from minibert.weights.loading import hugging_face_state
from tests.parity.twins import TINY, tiny_batch, tiny_labels, trained_like, twin_of


def main() -> None:
    model = trained_like(seed=0)
    batch = tiny_batch()
    labels = tiny_labels(batch)
    with torch.no_grad():
        output = twin_of(model)(
            **batch, **labels, output_hidden_states=True, output_attentions=True
        )
    arrays = {f"weights/{key}": value.numpy() for key, value in hugging_face_state(model).items()}
    arrays |= {f"input/{key}": value.numpy() for key, value in {**batch, **labels}.items()}
    for layer, states in enumerate(output.hidden_states):
        arrays[f"expected/hidden_states/{layer}"] = states.numpy()
    for layer, probabilities in enumerate(output.attentions):
        arrays[f"expected/attentions/{layer}"] = probabilities.numpy()
    arrays["expected/prediction_logits"] = output.prediction_logits.numpy()
    arrays["expected/seq_relationship_logits"] = output.seq_relationship_logits.numpy()
    arrays["expected/loss"] = output.loss.numpy()
    arrays["made_by"] = np.array(f"transformers {transformers.__version__}, {TINY}")
    np.savez_compressed(Path(__file__).parent / "data" / "reference.npz", **arrays)


if __name__ == "__main__":
    main()
