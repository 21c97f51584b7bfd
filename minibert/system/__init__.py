"""What the operating system does for us; knows nothing of BERT. Read in any order: `files.py`
(written whole or not at all), `lines.py` (text line by line), `processes.py` (several processes,
threads), `memory.py` (freed memory kept for the next step of a training run), `numbers.py` (a share
in per cent), `settings.py` (a setting with its help).
"""
