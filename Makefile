# make run    install what it needs, run 3 episodes in the simulated cell, write reports
# make test   install and pass the tests
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SOURCES := pyproject.toml CMakeLists.txt $(wildcard kernels/cpp/* kernels/cuda/*.[ch]* kernels/cuda/params.py kernels/spec.py drivers/cpp/* edge/cpp/*)

.PHONY: run test test-slow test-nvcc test-hardware bench gpu cuda lint docs models torch gl clean

run: $(VENV)/.run gl
	$(PY) -m headway run --episodes 3 --seed 5 --out runs/first --overwrite --report

test: $(VENV)/.dev gl lint
	$(PY) -m pytest -m "not slow and not hardware" --durations=8

test-slow: $(VENV)/.dev gl
	$(PY) -m pytest -m slow

# The CUDA kernels compiled for every device they are made for, minutes of nvcc; skips without it.
test-nvcc: $(VENV)/.dev
	$(PY) -m pytest -m slow -rs tests/test_kernels_cuda_build.py

test-hardware: $(VENV)/.dev
	$(PY) -m pytest -m hardware

lint: $(VENV)/.dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports --no-cache

bench: $(VENV)/.dev gl
	$(PY) -m headway.benchmarks

# On a machine with a CUDA device: tests, then the kernels checked and measured, into
# benchmarks/results. Without one it says what is missing. GPU_ENV=system needs no installation and no
# network: PYTHON with NumPy, a binding of CUDA (pycuda, cuda-bindings or CuPy) and nvcc will do.
GPU_ENV ?= venv
ifeq ($(GPU_ENV),system)
gpu:
	PYTHONPATH=src $(PYTHON) -m headway.kernels.cuda --out benchmarks/results
	@if $(PYTHON) -c 'import pytest' 2>/dev/null; \
	then PYTHONPATH=src:tests $(PYTHON) -m pytest -m gpu -rs --noconftest tests/test_gpu.py || [ $$? -eq 5 ]; \
	else echo 'no pytest here: parity was checked above, compute-sanitizer was not run'; fi
else
gpu: $(VENV)/.dev
	$(PY) -m headway doctor
	$(PY) -m pytest -m gpu -rs || [ $$? -eq 5 ]
	$(PY) -m headway.kernels.cuda --out benchmarks/results
endif

# Compile the CUDA kernels for every architecture that is shipped, and note what they need.
cuda:
	$(PYTHON) kernels/cuda/build.py build/cuda --report benchmarks/results/cuda-resources.json

# The pictures, from episodes that are recorded for them, and the tables of docs/features.md.
docs: $(VENV)/.dev gl
	$(PY) docs/picture.py
	$(PY) docs/slip.py
	$(PY) docs/features.py

# The models made again from nothing: about an hour on two cores. A first policy is cloned from
# demonstrations; while it drives, the scripted expert labels what it would have done; the policy is
# cloned from both. Then its episodes teach PRO, and further ones calibrate it. glibc must not hand
# every large tensor back to the system.
models: export MALLOC_MMAP_THRESHOLD_ = 4000000000
models: export MALLOC_TRIM_THRESHOLD_ = 8000000000
models: $(VENV)/.dev torch gl
	$(PY) -m headway.learn.collect --out runs/demos --config configs/pick_place_demos.toml --episodes 500
	$(PY) -m headway.learn.behaviour_cloning --demos runs/demos --out models/pick_place_policy --work runs/train_first
	$(PY) -m headway.learn.corrections --out runs/corrections --config configs/pick_place_demos.toml --episodes 150
	$(PY) -m headway.learn.behaviour_cloning --demos runs/demos runs/corrections --out models/pick_place_policy
	$(PY) -m headway.learn.rollouts --out runs/rollouts --episodes 800
	$(PY) -m headway.learn.rollouts --out runs/disturbed --episodes 1500 --disturbed
	$(PY) -m headway.learn.pro --rollouts runs/rollouts runs/disturbed --out models/pick_place_pro
	$(PY) -m headway run --episodes 130 --seed 3000000 --out runs/calibration --overwrite || [ $$? -eq 1 ]
	$(PY) -m headway.learn.calibrate --recordings runs/calibration --out models/pick_place_pro.risk.json

torch: $(VENV)/.learn

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 10) and f"Headway wants Python 3.10 or newer, found {v.major}.{v.minor}: call make PYTHON=python3.12, for example")'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --upgrade pip

$(VENV)/.run: $(VENV)/bin/python $(SOURCES)
	$(PY) -m pip install --quiet --editable '.[sim]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python $(SOURCES)
	$(PY) -m pip install --quiet --editable '.[sim,dev]'
	@touch $@ $(VENV)/.run

# PyTorch only for learning. On machines where this brings CUDA packages that are not wanted,
# install a CPU build of it into .venv first.
$(VENV)/.learn: $(VENV)/.dev
	$(PY) -m pip install --quiet torch==2.13.0
	$(PY) -m pip install --quiet --editable '.[sim,dev,learn]'
	@touch $@

# The simulated camera renders through EGL or OSMesa, which are system libraries.
gl: $(VENV)/.run
	@$(PY) -c 'from headway.drivers.sim import gl; import sys; sys.exit(gl.backend() is None)' \
	|| { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq \
	     && apt-get install -y -qq libegl1 libegl-mesa0 libgl1-mesa-dri; } \
	|| echo 'no EGL and no OSMesa: the simulated camera will not render; on Debian and Ubuntu: sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri'

clean:
	rm -rf $(VENV) build dist
