"""Exercise 17. A key of the official weights file, in minibert's names.

Check yourself: python -m tutorials.check 17
"""

from tutorials.exercises.todo import TODO


def rename_key(key: str) -> str:
    """A string -> a string.

    Hugging Face                              minibert
    embeddings.word_embeddings                embeddings.token
    embeddings.token_type_embeddings          embeddings.segment
    embeddings.position_embeddings            embeddings.position
    embeddings.LayerNorm                      embeddings.norm
    encoder.layer.3.attention.self.query      encoder.blocks.3.attention.query  (key, value)
    encoder.layer.3.attention.output.dense    encoder.blocks.3.attention.output
    encoder.layer.3.attention.output.LayerNorm  encoder.blocks.3.attention_norm
    encoder.layer.3.intermediate.dense        encoder.blocks.3.feed_forward.up
    encoder.layer.3.output.dense              encoder.blocks.3.feed_forward.down
    encoder.layer.3.output.LayerNorm          encoder.blocks.3.output_norm
    pooler.dense                              pooler.dense
    cls.predictions.transform.dense           masked_word.transform
    cls.predictions.transform.LayerNorm       masked_word.norm
    cls.predictions.bias                      masked_word.bias

    A key ends in .weight or .bias, or in the old words .gamma (weight) and .beta (bias). It may
    begin with "bert.", which goes.

    >>> rename_key("bert.encoder.layer.0.output.LayerNorm.gamma")
    'encoder.blocks.0.output_norm.weight'
    """
    return TODO("rename the key")
