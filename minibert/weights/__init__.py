"""Where a model's numbers come from and go to: official weights in, files for everybody out.

Read `names.py` (what each tensor is called), `loading.py` (a file becomes a model), `files.py` (a
file is opened without trusting it), then `hub.py` (a name becomes a folder) with `known_models.py`
(the names it knows) and `hub_errors.py` (why a name could not be had).
"""
