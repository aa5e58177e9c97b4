# make run    install what it needs, run 3 episodes in the simulated cell, write reports
# make test   install and pass the tests
# make hil    every driver kind against its emulator: promises and faults
# make lint   ruff, mypy and import-linter, in an environment of their own
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
LINT := .venv-lint
# A file of versions that pip must take, as constraints/lowest.txt; none: the newest that fit.
CONSTRAINTS ?=
# Processes that share the tests: one for each core, four at most. JOBS=0: none but pytest itself.
JOBS ?= auto
PIP := -m pip install --quiet --disable-pip-version-check
HEADWAY := $(PIP) $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable
PIP_FAILED = $(PYTHON) scripts/prerequisites.py --pip-failed
SOURCES := pyproject.toml CMakeLists.txt $(wildcard kernels/cpp/* kernels/cuda/*.[ch]* kernels/cuda/params.py kernels/spec.py drivers/cpp/* edge/*/cpp/*)

.PHONY: run test test-extras test-slow test-nvcc test-hardware test-pythons test-lowest test-wheel fuzz lint
.PHONY: bench gpu cuda docs models models-workflows models-wide models-learned study study-smoke peers-lerobot torch gl
.PHONY: clean hil hil-run hil-peers hil-franka test-tensorrt
.PHONY: wheel-aarch64 aarch64

run: $(VENV)/.run gl
	$(PY) -m headway run --episodes 3 --seed 5 --out runs/first --overwrite --report

test: $(VENV)/.test gl
	$(PY) -m pytest -m "not slow and not hardware" -n $(JOBS) --maxprocesses 4 --dist loadfile --durations=8

# Property tests on inputs drawn at random, ten times as many as in `make test`, which always draws the
# same ones. SEED=N repeats a run.
fuzz: $(VENV)/.test gl
	$(PY) -m pytest -m "hypothesis and not hardware" --hypothesis-profile=fuzz $(if $(SEED),--hypothesis-seed=$(SEED))

# `make run` and `make test` with every Python from 3.10 to 3.14 that is on PATH or in pyenv, each in
# its own environment. ONLY=oldest, newest or ends (both) takes fewer.
test-pythons:
	$(PYTHON) scripts/pythons.py $(if $(ONLY),--only $(ONLY)) run test

# The lowest versions that pyproject.toml allows, on the oldest Python.
test-lowest:
	$(PYTHON) scripts/pythons.py --only oldest --constraints constraints/lowest.txt run test

# What a user gets: sdist, the wheel made from it, installed into an empty environment. Without the
# CUDA kernels, which take minutes and which test-nvcc compiles.
WHEEL_VENV := .venv-wheel
test-wheel: $(VENV)/.test gl
	rm -rf $(WHEEL_VENV) build/wheel
	$(PY) -m build --config-setting=cmake.define.HEADWAY_CUDA=OFF --outdir build/wheel . || $(PIP_FAILED)
	$(PYTHON) -m venv $(WHEEL_VENV)
	wheel=$$(echo build/wheel/*.whl) && $(WHEEL_VENV)/bin/python $(PIP) "$$wheel[sim]" || $(PIP_FAILED)
	$(PY) -m pytest tests/test_wheel.py -rs --wheel-venv=$(WHEEL_VENV)

# Each pip extra of the devices alone, in an empty environment of its own below build/extras. May be
# interrupted, and goes on from there. ARGS='--only ur' tries one, ARGS=--again all of them again.
test-extras:
	$(PYTHON) scripts/extras.py $(ARGS)

# Wheels for arm64, as a Jetson is, cross-built on an x86-64 machine for PYTHON: see docs/jetson.md.
wheel-aarch64:
	$(PYTHON) scripts/aarch64/wheels.py

# That wheel installed on an arm64 Debian under QEMU, features compared with those of this machine,
# tests of what depends on the processor, an episode. It downloads, and goes on from where it was.
# DEBIAN_MIRROR: where Debian's packages come from. QUIETLY: a prefix, such as `nice`.
aarch64: $(VENV)/.run
	$(QUIETLY) $(PY) scripts/aarch64/check.py $(if $(DEBIAN_MIRROR),--mirror $(DEBIAN_MIRROR))

test-slow: $(VENV)/.test gl
	$(PY) -m pytest -m slow

# The CUDA kernels compiled for every device they are made for, minutes of nvcc; skips without it.
test-nvcc: $(VENV)/.test
	$(PY) -m pytest -m slow -rs tests/test_kernels_cuda_build.py

# TensorRT without a GPU: every shipped bundle is built with TensorRT-RTX, and what Headway calls of
# TensorRT 10.3 to 11.4, cuda-bindings and pycuda is looked for in their packages. An environment of
# its own (300 MB) beside the one of `make test`, whose packages it sees.
TENSORRT_VENV := .venv-tensorrt
BINDINGS := cu12==10.3.0 cu12==10.16.1.11 cu13==11.0.0.114 cu13==11.4.0.106
test-tensorrt: $(VENV)/.test $(TENSORRT_VENV)/.tensorrt
	$(TENSORRT_VENV)/bin/python -m pytest -rs tests/test_tensorrt_contract.py tests/test_tensorrt_rtx.py \
	  --tensorrt-venv=$(TENSORRT_VENV)

$(TENSORRT_VENV)/.tensorrt: constraints/tensorrt.txt | $(VENV)/.test
	$(PYTHON) -m venv --clear $(TENSORRT_VENV)
	$(TENSORRT_VENV)/bin/python $(PIP) --requirement constraints/tensorrt.txt || $(PIP_FAILED)
	for b in $(BINDINGS); do \
	  $(TENSORRT_VENV)/bin/python $(PIP) --no-deps --target $(TENSORRT_VENV)/bindings/$${b#*==} \
	    tensorrt-$${b%%=*}-bindings==$${b#*==} || { $(PIP_FAILED); exit 1; }; \
	done
	for v in 12.8.0 13.5.0; do \
	  $(TENSORRT_VENV)/bin/python $(PIP) --target $(TENSORRT_VENV)/cuda/$$v cuda-bindings==$$v || { $(PIP_FAILED); exit 1; }; \
	done
	$(TENSORRT_VENV)/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --no-binary pycuda \
	  --dest $(TENSORRT_VENV)/pycuda pycuda==2026.1 || $(PIP_FAILED)
	tar -C $(TENSORRT_VENV)/pycuda -xzf $(TENSORRT_VENV)/pycuda/pycuda-2026.1.tar.gz
	$(TENSORRT_VENV)/bin/python scripts/sees.py $(VENV)
	@touch $@

test-hardware: $(VENV)/.test
	$(PY) -m pytest -m hardware

# Every driver kind against its emulator or simulation; see docs/hil.md. ARGS=--quick for minutes.
hil: $(VENV)/.test $(VENV)/.cameras gl
	$(PY) -m headway hil --all $(ARGS)

lint: $(LINT)/.lint
	$(LINT)/bin/ruff check .
	$(LINT)/bin/ruff format --check .
	$(LINT)/bin/python -m mypy
	PYTHONPATH=src $(LINT)/bin/lint-imports --no-cache

$(LINT)/.lint: constraints/lint.txt
	@$(PYTHON) scripts/prerequisites.py >/dev/null
	$(PYTHON) -m venv --clear $(LINT)
	$(LINT)/bin/python $(PIP) --no-deps --requirement constraints/lint.txt || $(PIP_FAILED)
	@touch $@

bench: $(VENV)/.test gl
	$(PY) -m headway.benchmarks

# On a machine with a CUDA device: tests, then the kernels checked and measured, into
# benchmarks/results; then the engines of the shipped models, each kind that runs there (those of the
# extras `tensorrt` and `tensorrt-rtx`, ONNX Runtime's) held to ONNX Runtime on the CPU and timed
# beside it and PyTorch, if that is there. Without one it says what is missing. GPU_ENV=system needs no installation and no
# network: PYTHON with NumPy, a binding of CUDA (pycuda or cuda-bindings) and nvcc will do.
GPU_ENV ?= venv
GPU_RESULTS ?= benchmarks/results/gpu-engines.json
ifeq ($(GPU_ENV),system)
gpu:
	PYTHONPATH=src $(PYTHON) -m headway.kernels.cuda --out benchmarks/results
	@if $(PYTHON) -c 'import pytest' 2>/dev/null; \
	then PYTHONPATH=src:tests $(PYTHON) -m pytest -m gpu -rs --noconftest tests/test_gpu.py || [ $$? -eq 5 ]; \
	else echo 'no pytest here: parity was checked above, compute-sanitizer was not run'; fi
else
gpu: $(VENV)/.test
	$(PY) -m headway doctor
	$(PY) -m pytest -m gpu -rs || [ $$? -eq 5 ]
	$(PY) -m headway.kernels.cuda --out benchmarks/results
	@if $(PY) -c 'import sys; from headway.kernels import cuda; sys.exit(cuda.missing() != "")'; \
	then $(PY) -m headway.benchmarks --only engines gpu --json $(GPU_RESULTS); \
	else $(PY) -m headway.benchmarks --only engines gpu \
	&& echo 'no features on CUDA here: $(GPU_RESULTS) was not written'; fi
endif

# Compile the CUDA kernels for every architecture that is shipped, and note what they need.
cuda:
	$(PYTHON) kernels/cuda/build.py build/cuda --report benchmarks/results/cuda-resources.json

# Pick-and-place over the real bytes of emulated devices: a UR5e, a force/torque sensor, a gripper.
hil-run: $(VENV)/.test gl
	$(PY) -m headway run --config examples/ur5e_emulated.toml --realtime --episodes 1 --seed 5 --out runs/hil-run --overwrite --report

# Clients and servers of real devices that nobody here wrote, in an environment of their own, and what
# they say of the emulators and drivers.
HIL_VENV := .venv-hil
hil-peers: $(VENV)/.test $(HIL_VENV)/.peers
	$(PY) -m pytest -rs tests/test_peer_*.py tests/test_robotiq_gripper.py

# LeRobot without what it depends on: its motors need two of those packages.
$(HIL_VENV)/.peers: constraints/hil-peers.txt
	$(PYTHON) -m venv --clear $(HIL_VENV)
	$(HIL_VENV)/bin/python $(PIP) --requirement constraints/hil-peers.txt || $(PIP_FAILED)
	$(HIL_VENV)/bin/python $(PIP) --no-deps lerobot==0.4.4 || $(PIP_FAILED)
	@touch $@

# The Franka driver over franky against franky-sim, a server of the FCI protocol in front of MuJoCo that
# nobody here wrote; in an environment of its own that sees the packages of `make test`.
FRANKA_VENV := .venv-franka
hil-franka: $(VENV)/.test $(FRANKA_VENV)/.peers
	$(FRANKA_VENV)/bin/python -m pytest -rs tests/test_franka.py tests/test_franka_hand.py

$(FRANKA_VENV)/.peers: constraints/hil-franka.txt | $(VENV)/.test
	$(PYTHON) -m venv --clear $(FRANKA_VENV)
	$(FRANKA_VENV)/bin/python $(PIP) --requirement constraints/hil-franka.txt || $(PIP_FAILED)
	$(FRANKA_VENV)/bin/python scripts/sees.py $(VENV)
	@touch $@

# The pictures, from episodes that are recorded for them, and the tables of docs/features.md.
docs: $(VENV)/.test gl
	$(PY) docs/picture.py
	$(PY) docs/workflow_picture.py
	$(PY) docs/story_picture.py
	$(PY) docs/slip.py
	$(PY) docs/features.py

# The models made again from nothing: about an hour on two cores. A first policy is cloned from
# demonstrations; while it drives, the scripted expert labels what it would have done; the policy is
# cloned from both. Then its episodes teach PRO, and further ones calibrate it. glibc must not hand
# every large tensor back to the system.
models: export MALLOC_MMAP_THRESHOLD_ = 4000000000
models: export MALLOC_TRIM_THRESHOLD_ = 8000000000
models: $(VENV)/.test torch gl
	$(PY) -m headway.learn.collect --out runs/demos --config configs/pick_place_demos.toml --episodes 500
	$(PY) -m headway.learn.behaviour_cloning --demos runs/demos --out models/pick_place_policy --work runs/train_first
	$(PY) -m headway.learn.corrections --out runs/corrections --config configs/pick_place_demos.toml --episodes 150
	$(PY) -m headway.learn.behaviour_cloning --demos runs/demos runs/corrections --out models/pick_place_policy
	$(PY) -m headway.learn.rollouts --out runs/rollouts --episodes 800
	$(PY) -m headway.learn.rollouts --out runs/disturbed --episodes 1500 --disturbed
	$(PY) -m headway.learn.pro --rollouts runs/rollouts runs/disturbed --out models/pick_place_pro
	$(PY) -m headway run --episodes 130 --seed 3000000 --out runs/calibration --overwrite || [ $$? -eq 1 ]
	$(PY) -m headway pro alarms models/pick_place_pro --recordings runs/calibration --overwrite

# The one policy of all workflows, cloned from the scripted experts: about an hour on two cores. Its
# eyes and its text encoder stay as they are in all learning from execution.
WORKFLOWS := pick_place shoebox returns
models-workflows: $(VENV)/.test torch gl
	for w in $(WORKFLOWS); do \
	  $(PY) -m headway.learn.collect --config configs/workflows/$$w.toml --out runs/$$w --episodes 200 || exit 1; \
	done
	$(PY) -m headway.learn.policy.train --demos $(addprefix runs/,$(WORKFLOWS)) --scenes $(WORKFLOWS) \
	  --width 32 --out models/workflows --work runs/workflows_train
	$(PY) -m headway.learn.policy.language --bundle models/workflows

# The one with wider eyes, which opens shoeboxes and which the study begins with (docs/policy.md).
models-wide: $(VENV)/.test torch gl
	for w in pick_place:176 shoebox:300 returns:300; do \
	  $(PY) -m headway.learn.collect --config configs/workflows/$${w%:*}.toml --out runs/wide/$${w%:*} \
	    --episodes $${w#*:} || exit 1; \
	done
	$(PY) -m headway.learn.policy.train --demos $(addprefix runs/wide/,$(WORKFLOWS)) --scenes $(WORKFLOWS) \
	  --steps 14000 --out models/workflows_wide --work runs/wide/train

# The study of three systems, registered in configs/study: the better part of a day on two cores. It
# goes on from where it was, so it may be stopped at any time; the page says how far it has come.
# From a worktree of the registration's commit, STUDY_OUT and STUDY_WORK are folders of the checkout
# that one works in (docs/study.md). A unit that failed makes this fail too, after the page.
STUDY_OUT ?= benchmarks/results/study
STUDY_WORK ?= runs/study
STUDY_PAGE ?= docs/study.md
study: $(VENV)/.test torch gl
	@code=0; nice $(PY) -m headway study --out '$(STUDY_OUT)' --work '$(STUDY_WORK)' || code=$$?; \
	[ $$code -le 1 ] || exit $$code; \
	$(PY) -m headway study --page --out '$(STUDY_OUT)' --page-file '$(STUDY_PAGE)' || exit $$?; \
	exit $$code

# Its machinery with next to no data, in minutes.
study-smoke: $(VENV)/.test torch gl
	$(PY) -m headway study --smoke

# The policies and PRO heads that ship, made of units of the first seeds of the study's two runs once they
# are there: those of the first run, with the heads of shoeboxes of the second.
models-learned: $(VENV)/.test torch
	$(PY) -m headway.learn.study.ship --work '$(STUDY_WORK)' --seed 2 --out models
	$(PY) -m headway.learn.study.ship --work runs/study-second --seed 11 --workflows shoebox \
	    --keep pick_place returns --out models

# LeRobot in an environment of its own (about 2 GB), an ACT policy for an SO-101 made there, and what
# LeRobot answers with it: tests/test_peer_lerobot.py compares Headway with that. `runs/lerobot_act`
# has it in a size for tests, and in the size that LeRobot trains. tests/test_dataset_lerobot.py loads
# data sets in that environment.
LEROBOT_VENV ?= .venv-lerobot
export LEROBOT_VENV
PEER := examples/lerobot_act
peers-lerobot: $(LEROBOT_VENV)/.lerobot $(VENV)/.learn
	for size in small full; do \
	    out=runs/lerobot_act/$$size; \
	    PYTHONPATH=export/lerobot $(LEROBOT_VENV)/bin/python $(PEER)/record.py --size $$size --out $$out \
	    && $(PY) -m headway export $$out/checkpoint --python $(LEROBOT_VENV)/bin/python --robot so101 \
	        --out $$out/bundle --overwrite || exit 1; \
	done

# The last torchvision that decodes videos, and PyAV as LeRobot wants it: with torchcodec, which LeRobot
# would decode with, it takes FFmpeg of the system.
$(LEROBOT_VENV)/.lerobot: $(PEER)/requirements.txt
	$(PYTHON) -m venv $(LEROBOT_VENV)
	$(LEROBOT_VENV)/bin/python $(PIP) --requirement $(PEER)/requirements.txt || $(PIP_FAILED)
	$(LEROBOT_VENV)/bin/python $(PIP) --no-deps lerobot==0.4.4 'torchvision==0.25.*' 'av<16' || $(PIP_FAILED)
	@touch $@

torch: $(VENV)/.learn

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo 'Headway wants Python 3.10 or newer, found no $(PYTHON): install one (Debian: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3'; exit 1; }
	@$(PYTHON) scripts/prerequisites.py
	$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	$(PY) $(PIP) --upgrade pip || $(PIP_FAILED)

$(VENV)/.run: $(VENV)/bin/python $(SOURCES) $(CONSTRAINTS)
	$(PY) $(HEADWAY) '.[sim,text]' || $(PIP_FAILED)
	@touch $@

$(VENV)/.test: $(VENV)/bin/python $(SOURCES) $(CONSTRAINTS)
	$(PY) $(HEADWAY) '.[sim,test]' || $(PIP_FAILED)
	@touch $@ $(VENV)/.run

# PyTorch only for learning and for exports. On machines where this brings CUDA packages that are not wanted,
# install a CPU build of it into .venv first.
$(VENV)/.learn: $(VENV)/.test
	$(PY) $(PIP) torch==2.13.0 || $(PIP_FAILED)
	$(PY) $(HEADWAY) '.[sim,test,learn,export]' || $(PIP_FAILED)
	@touch $@

# Libraries of cameras at USB (80 MB), by which their recordings are made and played. The name is that of
# the package that is installed: pip adds what its extras want. Without them those cameras are not checked.
$(VENV)/.cameras: $(VENV)/.test
	$(PY) $(PIP) 'headway[realsense,uvc]' && touch $@ || echo 'no librealsense and no OpenCV: those cameras are not checked'

# The simulated camera renders through EGL or OSMesa, which are system libraries.
gl: $(VENV)/.run
	@$(PY) -c 'from headway.drivers.sim import gl; import sys; sys.exit(gl.backend() is None)' \
	|| { command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ] && apt-get update -qq \
	     && apt-get install -y -qq libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0; } \
	|| echo 'no EGL and no OSMesa: the simulated camera will not render; on Debian and Ubuntu: sudo apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0'

clean:
	rm -rf $(VENV) $(LINT) $(WHEEL_VENV) .venv-3.* .venv-lerobot $(TENSORRT_VENV) $(HIL_VENV) $(FRANKA_VENV) build dist
