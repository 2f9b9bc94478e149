# A fresh machine needs only `make serve` and `make test`; both make their own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: serve test test-clients check say bench wheels install install-test clean

serve: install
	$(BIN)/streamer serve $(ARGS)

say: install
	$(BIN)/streamer say "$(or $(TEXT),Hello. This is the built-in voice.)" -o "$(or $(OUT),say.ogg)"

test: install-test
	$(BIN)/pytest $(ARGS)

# The acceptance tests with other vendors' own clients, of which each has an environment in .venv-clients.
test-clients: install-test
	$(BIN)/python -m tests.clients.venvs
	$(BIN)/pytest -m clients $(ARGS)

check: install-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow and not browser and not clients" $(ARGS)

bench: install-test
	$(BIN)/python -m benchmarks.first_packet $(ARGS)
	$(BIN)/python -m benchmarks.first_audio
	$(BIN)/python -m benchmarks.live_text
	$(BIN)/python -m benchmarks.together
	$(BIN)/python -m benchmarks.server_cost --streams 1 64
	$(BIN)/python -m benchmarks.stages

# Wheels for a GPU machine with Python 3.12 and torch that reaches no registry; two folders, each small enough to copy.
WHEELS := download -q --only-binary=:all: --python-version 3.12 \
	--platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64
wheels:
	$(PYTHON) -m pip $(WHEELS) -d wheels/libraries -r benchmarks/gpu_wheels.txt
	$(PYTHON) -m pip $(WHEELS) -d wheels/compiler --no-deps numba llvmlite
	du -sh wheels/*

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

# Without an NVIDIA GPU the CPU build of torch is enough. It comes from its own index if that answers, else from the
# package index in use; the constraint holds for both.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "streamer needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if ! command -v nvidia-smi >/dev/null && $(PYTHON) -c 'import urllib.request as r; r.urlopen("$(TORCH_INDEX)/torch/", timeout=5)' 2>/dev/null; \
	then $(BIN)/pip install --quiet -c constraints.txt torch --index-url $(TORCH_INDEX); \
	else $(BIN)/pip install --quiet -c constraints.txt torch; fi
	$(BIN)/pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet -c constraints.txt -e '.[test,reference]'
	$(BIN)/python -c 'import torchaudio' 2>/dev/null || $(BIN)/pip uninstall --quiet --yes torchaudio
	$(BIN)/pip install --quiet --no-deps bark==0.1.5
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
