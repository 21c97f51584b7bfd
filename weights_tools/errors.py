"""Everything that can be wrong with a weight file, one class per cause.

Each message says what was expected, what was found and what to do next. All of them are
`WeightsError`, which is a `ValueError`, so a caller that only wants "it did not work"
catches one name.
"""


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
