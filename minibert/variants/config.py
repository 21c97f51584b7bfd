"""What variants have in common: configs with other names and switches, tables that are missing."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn

from minibert.core.config import BertConfig
from minibert.system.files import read_json


@dataclasses.dataclass(frozen=True)
class VariantConfig(BertConfig):
    """A BERT's config with the defaults of a variant.

    model_type  what config.json calls the variant
    renamed     our field -> its name in config.json
    fixed       switches of config.json, and the only value of each that is computed here
    """

    model_type: ClassVar[str]
    renamed: ClassVar[Mapping[str, str]] = {}
    fixed: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BertConfig:
        """Build from the contents of a `config.json`. Raises ValueError for a switch that stands
        otherwise than in `fixed`."""
        for name, only in {"model_type": cls.model_type, **cls.fixed}.items():
            if values.get(name, only) != only:
                raise ValueError(
                    f"not a {cls.model_type} as published: {name} must be {only!r}, got "
                    f"{values[name]!r}, which minibert does not compute"
                )
        ours = {name: values[theirs] for name, theirs in cls.renamed.items() if theirs in values}
        others = {name: value for name, value in values.items() if name not in cls.fixed}
        return super().from_dict({**others, **ours, "model_type": "bert"})

    @classmethod
    def from_json_file(cls, path: str | Path) -> BertConfig:
        """Read `config.json`. Raises ValueError that names the file."""
        try:
            return cls.from_dict(read_json(path))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a {cls.model_type} config: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The fields under their names in `config.json`, with `model_type` and the switches."""
        values = {**super().to_dict(), **self.fixed, "model_type": self.model_type}
        return {self.renamed.get(name, name): value for name, value in values.items()}


class NoTable(nn.Module):
    """In the place of a table that a variant has not: whole zeros, which change no sum."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.width = config.hidden_size

    def forward(self, ids: Tensor) -> Tensor:
        return ids.new_zeros(1).expand(*ids.shape, self.width)  # (B, T, H)
