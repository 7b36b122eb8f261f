# make setup | make sweep | make sweep-gpu | make test | make soak: the virtual environment is made when it is missing.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# test processes at a time, each with whole files and one thread
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest
# a crash ends the tests: xdist starts another process, gives it nothing and waits for it
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0

# Where it is set, each of hundreds of processes would compile torch, transformers and Ray anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup sweep sweep-gpu docs package test test-gpu test-all nightly soak kernels mutants check

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-compile -c constraints.txt -e '.[test]'
	touch $@

# With the embedded model and corpus, on every machine.
sweep: setup
	$(BIN)/python -m tune.run --space lora_modules --profile tiny

# LLaMA-7B on MultiWOZ 2.2, both downloaded.
sweep-gpu: setup
	$(BIN)/python -m tune.run --space lora_modules --profile lab

test: setup
	$(PYTEST) $(SIDE_BY_SIDE) -m 'not slow'

test-all: setup
	$(PYTEST) $(SIDE_BY_SIDE)

# What only a GPU shows: its kernels, and the packed engine against transformers there. Real models by
# their folders: MODELS="/path/gemma-3-270m /path/other", an adapter trained on each beside peft.
test-gpu: setup
	$(PYTEST) tests/engine/test_on_a_gpu.py tests/engine/test_exact_on_a_gpu.py \
		tests/engine/test_fp8_on_a_gpu.py
	for model in $(MODELS); do $(BIN)/python -m tune.bench.trained --device cuda --profile lab \
		--set corpus=cambridge --set quantisation=bf16 --set lora_rank=16 --set lora_dropout=0 \
		--set learning_rate=0.001 --set base_model=$$model || exit 1; done

nightly: setup
	$(PYTEST) -m nightly

# Sweeps whose processes die at random, so many deaths in all; each sweep's line goes to the record.
DEATHS ?= 250
soak: setup
	cd tests/tune && OMP_NUM_THREADS=1 PYTHONPATH=../.. ../../$(BIN)/python soak.py \
		--deaths $(DEATHS) --first $$(date +%s) --record ../../analysis/results/soak/toy.jsonl

# The GPU's kernels in Triton's interpreter, which needs versions of its own; compiled for a T4.
kernels: setup $(VENV)/kernels/.ready
	TRITON_INTERPRET=1 PYTHONPATH=$(VENV)/kernels $(PYTEST) tests/engine/test_kernels.py \
		tests/engine/test_training_kernels.py
	PYTHONPATH=$(VENV)/kernels $(PYTEST) tests/engine/test_older_cards.py

$(VENV)/kernels/.ready: tests/engine/kernels.txt $(VENV)/.ready
	$(BIN)/pip install --quiet --no-compile --no-deps --upgrade --target $(VENV)/kernels -r $<
	touch $@

# Deliberate faults that the tests must notice.
mutants: setup
	$(BIN)/python tests/mutants.py

# The pages of docs/ as a site, in site/; a link that leads nowhere is an error.
docs: $(VENV)/docs/.ready
	$(VENV)/docs/bin/mkdocs build --quiet --strict

$(VENV)/docs/.ready: constraints.txt
	$(PYTHON) -m venv $(VENV)/docs
	$(VENV)/docs/bin/pip install --quiet --no-compile -c constraints.txt mkdocs-material
	touch $@

# What a registry would be given, and whether it would take it.
package: setup
	rm -rf build dist && $(BIN)/python -m build --quiet && $(BIN)/twine check --strict dist/*

check: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
