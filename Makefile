# make demo   BERT at work on real text and real weights
# make test   format, lint, spelling, types, and all tests but the slow ones (make slow runs those)
# Both set up their own virtual environment first, with the versions in constraints.txt.

PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/.ready
SOURCES := minibert weights_tools tutorials benchmarks tests

.PHONY: setup demo test slow clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("minibert needs Python 3.10 or newer, this is " + sys.version.split()[0] + ": make PYTHON=python3.11 ...") if sys.version_info < (3, 10) else None'
	@echo "Setting up $(VENV) (once; a few minutes) ..."
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $(READY)

demo: $(READY)
	$(VENV)/bin/python -m tutorials.demo

test: $(READY)
	$(VENV)/bin/ruff format --check $(SOURCES)
	$(VENV)/bin/ruff check $(SOURCES)
	$(VENV)/bin/codespell
	$(VENV)/bin/mypy minibert weights_tools
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2 --dist worksteal

slow: $(READY)
	$(VENV)/bin/python -m pytest -m slow

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache build *.egg-info
