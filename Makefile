# Needs python3 (3.11 or newer), pip and make; everything else goes into a local virtual environment.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
PIP_INSTALL = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# Tests and checks run on the CPU, so that they give the same answers on every machine.
ON_CPU = JAX_PLATFORMS=cpu

.PHONY: quickstart test test-slow lint format verify bench clean
.DEFAULT_GOAL := quickstart

quickstart: $(VENV)/.installed
	$(VENV)/bin/icl-lab run configs/quickstart.yaml

test: $(VENV)/.installed-dev
	$(ON_CPU) $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile

test-slow: $(VENV)/.installed-dev
	$(ON_CPU) $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m slow

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyrefly check --python-interpreter-path $(VENV)/bin/python

format: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

verify: $(VENV)/.installed
	$(VENV)/bin/icl-lab verify

bench: $(VENV)/.installed
	$(VENV)/bin/icl-lab bench

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are older than these two files only when something has to be installed again.
$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing icl_lab into $(VENV)"
	$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing icl_lab and its test tools into $(VENV)"
	$(PIP_INSTALL) --editable '.[dev,docs,notebooks]'
	@touch $@ $(VENV)/.installed

# Some distributions ship venv without its pip: then the system's pip fills the new environment.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "icl_lab needs Python 3.11 or newer; use make PYTHON=...")'
	@$(PYTHON) -m venv $(VENV) 2>/dev/null \
	  || { $(PYTHON) -m venv --clear --without-pip $(VENV) && $(PYTHON) -m pip --quiet --python $(VENV)/bin/python install pip; }
