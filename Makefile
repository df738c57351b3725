# Everything works from a fresh clone: each target first makes the virtual environment it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test faults fuzz properties lint format docs bench load nodes clean

demo: $(VENV)/demo.stamp
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHON="$(CURDIR)/$(BIN)/python" $(BIN)/python examples/kmers/demo.py

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n auto --dist loadfile

# SECONDS, SEED (the first one) and what else run.py takes: make faults SECONDS=60 FLAGS=--verbose
SECONDS ?= 3600
SEED ?= 1
faults: $(VENV)/test.stamp
	$(BIN)/python tests/faults/run.py --seconds $(SECONDS) --first-seed $(SEED) $(FLAGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/test.stamp
	$(BIN)/python docs/generate.py

bench: $(VENV)/bench.stamp
	$(BIN)/python -m benchmarks

# Half an hour of hostile input, with new examples each time; TORC_FUZZ is how many times those of `make test`.
fuzz: $(VENV)/test.stamp
	TORC_FUZZ=$${TORC_FUZZ:-100} $(BIN)/python -m pytest tests/hostile

# The properties, ROUNDS times, each time with new examples; some four minutes a round
ROUNDS ?= 10
properties: $(VENV)/test.stamp
	for round in $$(seq $(ROUNDS)); do TORC_FUZZ=1 $(BIN)/python -m pytest -n auto -m hypothesis || exit; done

# Ten minutes of a thousand workers and a thousand subscribers, then JSON: make load FLAGS='--seconds 60 --workers 100'
load: $(VENV)/test.stamp
	$(BIN)/python -m benchmarks.load $(FLAGS)

# Workers on the nodes of a real Slurm of this machine's own, as root; then JSON: make nodes FLAGS='--nodes 64 --slots 4 --single'
nodes: $(VENV)/test.stamp
	$(BIN)/python -m benchmarks.nodes $(FLAGS)

clean:
	rm -rf $(VENV) build .pytest_cache .mypy_cache .ruff_cache .hypothesis

# demo: what a user installs, and matplotlib for the plot; test and bench: what developers need
$(VENV)/demo.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[demo,test]'
	touch $@

$(VENV)/bench.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
