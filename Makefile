# Every target does its own set-up in $(VENV); the first call takes minutes, later ones go straight to work.
#
#   make demo     train DAFNet on a small phantom and write an HTML page with pictures and a table
#   make test     run the tests, on all cores
#   make check    format, lint, types, spelling, doctests
#   make docs     build the documentation site, strictly, into site/
#   make wheel    build the wheel, import it from a clean environment and copy a bundle out of it
#   make clean    remove what the above left behind, but for the environment and runs/
#
# With a GPU, or to choose torch yourself:      make test CONSTRAINTS=
# For the smaller CPU build of torch on Linux:  make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
PIP_ARGS ?=
PYTEST_ARGS ?=
# One file a process, because the tests of a file share what they made. TEST_PROCESSES=0 runs all in one.
TEST_PROCESSES ?= logical
DEMO_OUT ?= runs/demo
# Text is UTF-8 wherever this runs: libraries that open files leave it to the locale.
export PYTHONUTF8 := 1

BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(if $(CONSTRAINTS),-c $(CONSTRAINTS))
SOURCES := monai_mmseg tests benchmarks

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check check-format check-lint check-types check-spelling check-doctests format docs wheel clean

help:
	@sed -n 's/^#   //p' Makefile

$(BIN)/python:
	@echo "make: new environment $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed; choose one with make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)

# One stamp for each set of extras: an install is repeated only when what it was made from has changed.
$(VENV)/.installed-%: setup.cfg pyproject.toml $(CONSTRAINTS) | $(BIN)/python
	@echo "make: installing monai-mmseg[$*] into $(VENV); the first time this takes some minutes"
	@$(PIP_INSTALL) -e '.[$*]'
	@touch $@

demo: $(VENV)/.installed-report
	@$(BIN)/python -m benchmarks.demo --out $(DEMO_OUT)
	@page=$$(ls $(DEMO_OUT)/report.html $(DEMO_OUT)/index.html $(DEMO_OUT)/*.html 2>/dev/null | head -n 1); \
	 test -n "$$page" || { echo "make: the demo left no page in $(DEMO_OUT)" >&2; exit 1; }; \
	 echo; echo "The page to look at: $$(cd $$(dirname $$page) && pwd)/$$(basename $$page)"

test: $(VENV)/.installed-test
	@OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

CHECKS := check-format check-lint check-types check-spelling check-doctests
check: $(CHECKS)  # `make -k check` goes on after the first that fails
$(CHECKS): $(VENV)/.installed-dev

check-format:
	$(BIN)/ruff format --check $(wildcard $(SOURCES))

check-lint:
	$(BIN)/ruff check $(wildcard $(SOURCES))

check-types:
	$(BIN)/mypy

check-spelling:
	$(BIN)/codespell

check-doctests:
	$(BIN)/python -m pytest --doctest-modules -q monai_mmseg

format: $(VENV)/.installed-dev
	$(BIN)/ruff format $(wildcard $(SOURCES))
	$(BIN)/ruff check --fix $(wildcard $(SOURCES))

docs: $(VENV)/.installed-docs
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo "The site: site/index.html"

wheel: $(VENV)/.installed-dev
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .
	$(PYTHON) -m venv build/clean
	build/clean/bin/python -m pip install -qq --disable-pip-version-check $(PIP_ARGS) $(if $(CONSTRAINTS),-c $(CONSTRAINTS)) dist/*.whl
	cd build/clean && bin/python -c 'import monai_mmseg; print(monai_mmseg.__version__, monai_mmseg.__file__)'
	cd build/clean && bin/mmseg bundle list && bin/mmseg bundle copy dafnet copied && ls copied/configs/train.json

clean:
	rm -rf build dist site *.egg-info .coverage htmlcov .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find monai_mmseg tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
