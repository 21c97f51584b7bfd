"""Every kind of weight file opened alike (`reading.py`), and written (`writing.py`)."""
