"""Everything that can be wrong with a weight file, one class per cause.

Each message says what was expected, what was found and what to do next. All of them are
`WeightsError`, which is a `ValueError`, so a caller that only wants "it did not work"
catches one name.
"""

from pathlib import Path


class WeightsError(ValueError):
    """Something about a weight file, a folder of them or a request for them is wrong."""


class CorruptError(WeightsError):
    """The bytes contradict themselves: a checksum, a length or a name is wrong."""


class TruncatedError(CorruptError):
    """The file ends before the data it announces."""


class MissingShardError(WeightsError):
    """A file that belongs to the set is not there."""


class PartitionedTensorError(WeightsError):
    """A TensorFlow variable was saved in several slices, which this reader does not join."""


class UnsupportedDtypeError(WeightsError):
    """A tensor has a number type that a BERT weight cannot have, such as text."""


def refuse_pointer(path: Path) -> None:
    """Raise MissingShardError for what Git leaves of a large file that was not fetched."""
    with path.open("rb") as file:
        if file.read(16) == b"version https://":
            raise MissingShardError(
                f"{path} is a Git LFS pointer, not the data: run `git lfs pull`, or download the "
                "file itself"
            )
