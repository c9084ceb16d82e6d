# One way in. Every target does its own set-up; the first one on a fresh machine takes a few minutes.
#   make PYTHON=python3.12 …   another interpreter (3.10 or newer)
#   make VENV=/elsewhere …     another place for the virtual environment
SHELL := /bin/bash
PYTHON ?= python3
VENV ?= .venv

# Images of containers often forbid bytecode: each of the hundreds of processes that the tests start, and each of
# those that run them, would compile everything it imports.
export PYTHONDONTWRITEBYTECODE :=

PY := $(VENV)/bin/python
# A board has no PyTorch to set up: the GPU targets take the environment that is there.
GPU_PY := $(if $(wildcard $(PY)),$(PY),$(PYTHON))
READY := $(VENV)/.ready

GPU_INPUTS ?= build/gpu-inputs
ARM64_ROOT ?= build/arm64

# Environments of their own: what a release's bytes depend on, and what describes it, by version and hash.
DIST_PY := build/dist-env/bin/python
PAPERS_PY := build/papers-env/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint typecheck docs format bench rtx-engines arm64 test-gpu bench-gpu gpu-inputs dist dist-check papers clean

help:
	@echo 'make demo       export the sample detector (fp32, int8), run it on a rendered clip, print what was kept'
	@echo 'make test       the whole test suite'
	@echo 'make lint       style, formatting and types (typecheck alone: make typecheck; to reformat: make format)'
	@echo 'make docs       the documentation and the API reference as HTML, in build/docs'
	@echo 'make bench      measure what the SDK adds to the bare network'
	@echo 'make rtx-engines engines of every family and precision by the builder of TensorRT-RTX; needs no GPU'
	@echo 'make arm64      the device install in a Debian root of arm64 under qemu: the same boxes? (Linux, root)'
	@echo 'make test-gpu   the tests that need an NVIDIA GPU (and TensorRT); they say what is missing and skip'
	@echo 'make gpu-inputs prepare what bench-gpu measures on, in $(GPU_INPUTS); needs no GPU, copy it to the board'
	@echo 'make bench-gpu  all that only a GPU can tell, in nine minutes: make bench-gpu ENGINES="a.trt b.trt"'
	@echo 'make dist       source archives and wheels, in dist/: the same bytes on every run (release/README.md)'
	@echo 'make dist-check build them twice and compare; install the wheel into fresh environments and use it there'
	@echo 'make papers     bills of materials (CycloneDX) beside the wheel, and the licences of all it may install'
	@echo 'make setup      only the virtual environment, in $(VENV)'
	@echo 'make clean      remove what the other targets built, except $(VENV)'

setup: $(READY)

# The stamp is younger than pyproject.toml exactly when the environment has what it asks for. PyPI's own torch
# and torchvision: wheels of the two from different indexes lose `torchvision::nms`.
$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; install Python 3.10 or newer, or say make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: $$($(PYTHON) --version) is too old; edgedet needs Python 3.10 or newer: make PYTHON=python3.12" >&2; exit 1; }
	@[ -x $(PY) ] && $(PY) -m pip --version >/dev/null 2>&1 || { \
	  rm -rf $(VENV); \
	  if $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then $(PYTHON) -m venv $(VENV); \
	  elif $(PYTHON) -c 'import virtualenv' 2>/dev/null; then $(PYTHON) -m virtualenv --quiet $(VENV); \
	  else echo "make: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv; elsewhere: $(PYTHON) -m pip install --user virtualenv" >&2; exit 1; fi; }
	@echo "setting up $(VENV) (PyTorch is a large download; this happens once)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade pip 'setuptools>=77'
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	@touch $@

demo: setup
	@$(PY) examples/demo.py

# Files are shared out between the cores, each whole, since their tests share what they export; in their order, which
# ends with the short ones of the doctests. By itself pytest-xdist begins with the files of most tests, and the last ones,
# of few and long tests, leave a core idle.
test: setup
	@$(PY) -m pytest -n auto --dist loadfile --no-loadscope-reorder

lint: setup typecheck
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

typecheck: setup
	@$(PY) -m mypy

docs: setup
	@$(PY) -c 'import sphinx, myst_parser, furo' 2>/dev/null || $(PY) -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev,docs]'
	@$(PY) -m sphinx -q -W --keep-going -b html docs build/docs && echo build/docs/index.html

format: setup
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: setup
	@$(PY) benchmarks/overhead.py

rtx-engines: setup
	@$(PY) benchmarks/rtx_engines.py $(RTX_OPTIONS)

# Outside CI: it takes root, Debian's debootstrap and qemu-user-static, and a night.
arm64: setup
	@PYTHON=$(abspath $(PY)) benchmarks/arm64/root.sh $(ARM64_ROOT)
	@$(PY) -m benchmarks.arm64 $(ARM64_ROOT) $(ARM64_OPTIONS)

# $(call need,MODULES,PACKAGES): says what to install where a module is missing. From /: the folders here would
# pass for the package.
define need
@command -v $(GPU_PY) >/dev/null || { echo "make: $(GPU_PY) not found; say make $@ PYTHON=…" >&2; exit 1; }
@gpu_py=$$(command -v $(GPU_PY)); case $$gpu_py in /*) ;; *) gpu_py=$(CURDIR)/$$gpu_py ;; esac; \
  why=$$(cd / && $$gpu_py -c 'for name in "$(1)".split(): __import__(name)' 2>&1) || \
  { echo "make: $${why##*$$'\n'}; install it first: $(GPU_PY) -m pip install $(2)'.[tensorrt]'" >&2; exit 1; }
endef

test-gpu:
	$(call need,edgedet.runtimes edgedet.export pytest,pytest )
	@$(GPU_PY) -m pytest -rs tests/gpu

gpu-inputs: setup
	@PYTHON=$(PY) benchmarks/gpu_day.sh --prepare $(GPU_INPUTS)

# Where TensorRT or a package is missing, each step says so by itself.
bench-gpu:
	@PYTHON=$(GPU_PY) benchmarks/gpu_day.sh $(GPU_INPUTS) $(if $(ENGINES),--engine $(ENGINES))

build/%-env/bin/python: release/%-requirements.txt
	@$(PYTHON) -m venv --clear build/$*-env
	@$@ -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r $<
	@touch $@

dist: $(DIST_PY)
	@$(DIST_PY) release/dist.py

# WITH=--export tries the exporting side too: PyTorch is a large download.
dist-check: dist
	@$(DIST_PY) release/compare.py
	@$(PYTHON) release/try_wheel.py dist/edgedet-*.whl $(WITH) --keep build/wheel-envs

papers: $(PAPERS_PY) dist-check setup
	@$(PAPERS_PY) release/papers.py --environments build/wheel-envs --everything $(PY)

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
