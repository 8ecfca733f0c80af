# `make run` and `make test` are all that is needed; both make .venv first. Needs Python 3.11 to 3.13.
PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13,$(shell python$(v) -c "import sys; print(sys.executable)" 2>/dev/null)) python3)
BIN = .venv/bin
NOTEBOOKS = $(patsubst notebooks/src/%.py,notebooks/%.ipynb,$(wildcard notebooks/src/*.py))
# Two at once, each with one thread. A file stays in one process: its tests share what its fixtures train.
PYTEST = $(BIN)/python -m pytest
ONE_THREAD = TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1
TWO = $(ONE_THREAD) $(PYTEST) -n 2 --dist loadfile
export TF_CPP_MIN_LOG_LEVEL = 3

.PHONY: run test test-slow lab standalone notebooks samples lint format lock
.DELETE_ON_ERROR:

run: .venv/installed
	$(BIN)/python -m notebooks.run $(if $(FULL),--preset "Quick on a CPU") $(NOTEBOOK)

test: .venv/installed lint
	$(TWO)

test-slow: .venv/installed
	$(TWO) -m slow --ignore tests/browser
	$(PYTEST) -m slow tests/browser

lab: .venv/installed
	$(BIN)/jupyter lab --config notebooks/lab/config.py $(LAB)

standalone: .venv/installed
	$(BIN)/python -m notebooks.standalone

notebooks: $(NOTEBOOKS)

notebooks/%.ipynb: notebooks/src/%.py .venv/installed
	$(BIN)/jupytext --to ipynb --update --output $@ $<

samples: .venv/installed
	$(BIN)/python -m data_samples.generate

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: .venv/installed
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: .venv/installed
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --universal --python-version 3.11 --no-header --no-annotate --no-emit-index-url \
	  --no-emit-find-links --quiet --upgrade --output-file requirements.txt requirements.in

.venv/installed: requirements.txt
	$(PYTHON) notebooks/lab/start.py --only-install
