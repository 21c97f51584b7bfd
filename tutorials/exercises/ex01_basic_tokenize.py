"""Exercise 01. Text to words, as BERT-uncased does it.

Check yourself: python -m tutorials.check 01
"""

from tutorials.exercises.todo import TODO


def basic_tokenize(text: str) -> list[str]:
    """A string -> a list of words.

    In this order: delete invisible characters (categories Cc and Cf, but tab and line ends are
    spaces); put spaces around Chinese characters; drop accents; lower case; put spaces around
    punctuation (ASCII that is no letter, digit or space, and categories P...); split at spaces.

    >>> basic_tokenize("Don't STOP, Zoë!")
    ['don', "'", 't', 'stop', ',', 'zoe', '!']
    """
    return TODO("split the text into words")
