# A fresh machine needs only `make serve` and `make test`; both make their own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TOOLS := .venv-tools
TORCH_INDEX := https://download.pytorch.org/whl/cpu

.PHONY: serve test test-clients check say bench wheels install install-test clean lock lock-torch audit bandit sbom wheel

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
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive streamer
	$(BIN)/pytest -m "not slow and not browser and not clients" $(ARGS)

bench: install-test
	$(BIN)/python -m benchmarks.first_packet $(ARGS)
	$(BIN)/python -m benchmarks.first_audio
	$(BIN)/python -m benchmarks.live_text
	$(BIN)/python -m benchmarks.together
	$(BIN)/python -m benchmarks.server_cost --streams 1 64
	$(BIN)/python -m benchmarks.stages

# Wheels for a GPU machine with Python 3.12, torch and numpy that reaches no registry: two archives, each below 64 MiB,
# of which the second is for a machine without numba.
WHEELS := download -q --only-binary=:all: --python-version 3.12 \
	--platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64
wheels:
	$(PYTHON) -m pip $(WHEELS) -d wheels/libraries -r benchmarks/gpu_wheels.txt
	$(PYTHON) -m pip $(WHEELS) -d wheels/compiler --no-deps numba llvmlite
	rm -f wheels/libraries/numpy-*
	for part in libraries compiler; do tar -cf wheels/$$part.tar wheels/$$part; done
	find wheels -name '*.tar' -size +64M -print -exec false {} +
	du -sh wheels/*

install: $(VENV)/.installed
install-test: $(VENV)/.installed-test

# Everything is installed from the locks in requirements/, whose hashes are compared. Without an NVIDIA GPU the CPU's
# build of torch is enough, from its own index if that answers, else from the one in use; the last resort is the build
# with CUDA, which is some gigabytes.
LOCKED := install --quiet --no-deps --require-hashes --only-binary=:all:
$(VENV)/.installed: pyproject.toml requirements/server.txt requirements/torch-cpu.txt requirements/torch-cuda.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "streamer needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if command -v nvidia-smi >/dev/null; then $(BIN)/pip $(LOCKED) -r requirements/torch-cuda.txt; \
	elif $(PYTHON) -c 'import urllib.request as r; r.urlopen("$(TORCH_INDEX)/torch/", timeout=5)' 2>/dev/null; \
	then $(BIN)/pip $(LOCKED) -r requirements/torch-cpu.txt --index-url $(TORCH_INDEX); \
	else $(BIN)/pip $(LOCKED) -r requirements/torch-cpu.txt 2>/dev/null || $(BIN)/pip $(LOCKED) -r requirements/torch-cuda.txt; fi
	$(BIN)/pip $(LOCKED) -r requirements/server.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

# encodec has no wheel.
$(VENV)/.installed-test: $(VENV)/.installed requirements/test.txt
	$(BIN)/pip $(LOCKED) --no-binary=encodec --no-build-isolation -r requirements/test.txt
	touch $@

# The tools that follow have an environment of their own.
$(TOOLS)/.installed: requirements/tools.txt
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip $(LOCKED) -r requirements/tools.txt
	touch $@

# Writes the locks. Versions stay as they are where pyproject.toml and constraints.txt allow it;
# `make lock UPGRADE=--upgrade` takes the newest. One version serves every Python, so that all run what is tested.
LOCK = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	--no-annotate --no-emit-package torch --constraint constraints.txt --custom-compile-command "make lock" $(UPGRADE)
lock: $(TOOLS)/.installed
	$(LOCK) pyproject.toml requirements/build.in --excludes requirements/excluded.txt -o requirements/server.txt
	$(LOCK) pyproject.toml requirements/build.in requirements/test.in --extra test --extra reference \
		--excludes requirements/excluded.txt --constraint requirements/server.txt -o requirements/test.txt
	echo torch | $(subst --no-emit-package torch,,$(LOCK)) - --constraint requirements/server.txt -o requirements/torch-cuda.txt
	echo triton | $(LOCK) - -o requirements/triton.txt
	echo 'ray[serve]' | $(LOCK) - --constraint requirements/test.txt -o requirements/ray.txt
	$(LOCK) requirements/tools.in -o requirements/tools.txt

# Prints the hashes for requirements/torch-cpu.txt, of wheels that it downloads (1.1 GB).
lock-torch: $(TOOLS)/.installed
	for python in 3.11 3.12 3.13; do for machine in x86_64 aarch64; do \
		$(TOOLS)/bin/pip download --quiet --no-deps --only-binary=:all: --python-version $$python \
			--platform manylinux_2_28_$$machine --index-url $(TORCH_INDEX) --dest build/torch \
			"$$(sed -n 's/^torch==\([^ +]*\).*/torch==\1+cpu/p' constraints.txt)" || exit 1; done; done
	$(TOOLS)/bin/pip hash build/torch/*.whl

# Asks PyPI for known vulnerabilities of every package in the locks. Some mirrors do not have the pages that list them;
# pip-audit would then find none and be content, which is why they are asked for first, and why it is strict.
ADVISORIES := https://pypi.org/pypi/pip/24.0/json
audit: $(TOOLS)/.installed
	if ! $(TOOLS)/bin/python -c 'import urllib.request as r; r.urlopen("$(ADVISORIES)", timeout=10)' 2>/dev/null; \
	then test -z "$$GITHUB_ACTIONS" || exit 1; echo "audit: skipped, because $(ADVISORIES) and its like, which list vulnerabilities, are not reached"; \
	else for lock in server test torch-cuda triton ray tools; do \
		$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements/$$lock.txt || exit 1; \
	done; fi

bandit: install-test
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive streamer

# The bill of materials of what the container for the CPU holds, from an environment that has nothing else.
SERVER := .venv-server
sbom: $(TOOLS)/.installed
	rm -rf $(SERVER) && $(PYTHON) -m venv --without-pip $(SERVER)
	$(TOOLS)/bin/pip --python $(SERVER) $(LOCKED) --retries 1 -r requirements/torch-cpu.txt --extra-index-url $(TORCH_INDEX)
	$(TOOLS)/bin/pip --python $(SERVER) $(LOCKED) -r requirements/server.txt
	mkdir -p dist
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --output-reproducible \
		--output-file dist/bark-streamer.cdx.json $(SERVER)
	rm -rf $(SERVER)

# The wheel of what is committed, built twice, the second time in another folder, time zone and order of hashes, and kept
# if both are equal. setuptools writes the builder's umask into the wheel, so that it is set here.
BUILD = $(TOOLS)/bin/python -m build --wheel --no-isolation
wheel: $(TOOLS)/.installed
	rm -rf build/first build/second && mkdir -p build/first build/second/deeper dist
	for place in build/first build/second/deeper; do git -c tar.umask=022 archive HEAD | tar -xp -C $$place || exit 1; done
	umask 022 && export SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) && \
	TZ=UTC PYTHONHASHSEED=0 $(BUILD) --outdir build/first/dist build/first >/dev/null && \
	TZ=Asia/Tokyo PYTHONHASHSEED=1 $(BUILD) --outdir build/second/dist build/second/deeper >/dev/null
	cmp build/first/dist/*.whl build/second/dist/*.whl
	cp build/first/dist/*.whl dist/ && cd dist && sha256sum *.whl

clean:
	rm -rf $(VENV) $(TOOLS) $(SERVER) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
