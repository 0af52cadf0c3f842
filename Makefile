# make demo   train and compare four models on three small clips, then print where the report is
# make test   the tests (under ten minutes on two cores); test-all adds the slow ones
# make bench  the benchmarks
# make lint   ruff and mypy

PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

.PHONY: demo test test-all bench lint clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: $(READY)
	@mkdir -p demo
	cd demo && ../$(BIN)/zoo compare --films all --models ae,vae,vaegan,perceptual --preset quick
	@echo "the report: demo/results/report.md"

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: test
	$(BIN)/python -m pytest -n 2 -m slow

# The peers that the benchmarks race against are installed for them alone.
.venv/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@touch $@

bench: .venv/.bench
	$(BIN)/python -m pytest benchmarks --benchmark-columns=median,iqr,rounds

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf .venv demo build *.egg-info
