# The whole of the project from one file; `make` or `make help` lists the targets.
# PYTHON is only used to create .venv; everything else runs from there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OVERRIDES ?=
REPORT ?= outputs/report
# The thesis's own settings need a GPU; without one, a share of the data and narrower networks.
SCALE ?= $(shell $(BIN)/python -c 'import torch; print("paper" if torch.cuda.is_available() else "cpu")')
JOBS ?= 2
STUDIES ?= mnist_mlp mnist_cnn fashion_mnist_cnn fashion_mnist_mlp cifar10_losses update_modes fashion_changes vgg8_narrow

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z][a-zA-Z0-9_%-]*:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(VENV)/.installed ## install snnhll and what it needs into .venv
	@echo "snnhll is installed in $(VENV); 'source $(BIN)/activate' puts it on the path"

.PHONY: demo
demo: $(VENV)/.installed ## train SNN-HLL on scikit-learn's digits, about a minute (OVERRIDES="seed=1 ...")
	@$(BIN)/snnhll train $(OVERRIDES)

table_%: $(VENV)/.installed ## run what is missing of a table (make table_3_5 SCALE=smoke|cpu|paper) and print it
	@$(BIN)/snnhll sweep $@ scale=$(SCALE) $(OVERRIDES)

.PHONY: reproduce-all
reproduce-all: $(VENV)/.installed ## run what is missing of all tables, then write tables, figures and a page to REPORT
	@scale=$(SCALE); $(BIN)/snnhll sweep all scale=$$scale $(OVERRIDES); ended=$$?; \
	  $(BIN)/snnhll report scale=$$scale $(OVERRIDES) --out $(REPORT) --html && exit $$ended

RECORDED := scale=paper output_dir=results/runs tracking=none threads=1

.PHONY: results
results: $(VENV)/.installed ## continue the studies on real data (days; STUDIES="mnist_mlp"), and write results/ anew
	@$(BIN)/snnhll sweep $(STUDIES) $(RECORDED) $(OVERRIDES); ended=$$?; \
	  for study in $(STUDIES); do \
	    $(BIN)/snnhll report $$study $(RECORDED) --out results/$$study || exit; \
	  done; exit $$ended

.PHONY: test
test: $(VENV)/.installed-test ## run the tests, in two processes (JOBS=2)
	@$(BIN)/python -m pytest -m "not slow" -n $(JOBS) --dist loadfile

.PHONY: test-slow
test-slow: $(VENV)/.installed-test ## run the long tests that `make test` leaves out
	@$(BIN)/python -m pytest -m slow

.PHONY: lint
lint: $(VENV)/.installed-dev ## check style and formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

.PHONY: types
types: $(VENV)/.installed-dev ## check types
	@$(BIN)/mypy

.PHONY: wheel
wheel: $(VENV)/.installed-dev ## build the wheel into dist/
	@rm -rf dist
	@$(BIN)/python -m build --wheel --outdir dist

.PHONY: clean
clean: ## remove caches and built files; .venv and outputs/ stay
	rm -rf dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: an installation is repeated only when pyproject.toml changes.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; v = "%d.%d" % sys.version_info[:2]; sys.exit(sys.version_info < (3, 11) and \
	  "snnhll needs Python 3.11 or newer, and $(PYTHON) is " + v + "; name another: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); PyTorch is large, the first time takes some minutes"
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --editable '.[test]'
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed-test
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off --quiet --editable '.[dev]'
	@touch $@
