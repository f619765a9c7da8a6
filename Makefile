# `make demo` and `make test` do everything on a fresh machine; they need Python 3.11, make and pip.
PYTHON ?= python3.11
VENV := .venv
CLASSIC := $(VENV)-classic
BIN := $(VENV)/bin
MIM := PYTHONWARNINGS=ignore $(BIN)/mim
REQUIREMENTS := $(wildcard requirements/*.txt)
SOURCES := $(shell find glean_plus configs tools -type f -not -path '*/__pycache__/*') setup.py setup.cfg model-index.yml

.PHONY: demo test test-classic coverage soak lint docs wheel mutants setup classic clean

setup: $(VENV)/.installed

$(VENV)/.requirements: $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -r requirements/default.txt -r requirements/demo.txt -r requirements/dev.txt
	$(BIN)/pip install -q --no-deps -r requirements/demo-nodeps.txt
	touch $@

# The classic stack: torch 2.1 and an mmcv with compiled ops, which takes minutes to build (twice as many with debugging
# symbols). Its wheel is kept apart from pip's others: pip does not see which torch one was built against.
MMCV_WHEELS ?= $(HOME)/.cache/glean_plus/mmcv
classic: $(CLASSIC)/.installed

$(CLASSIC)/.requirements: $(addprefix requirements/,classic.txt demo.txt dev.txt demo-nodeps.txt)
	$(PYTHON) -m venv $(CLASSIC)
	$(CLASSIC)/bin/pip install -q -r requirements/classic.txt -r requirements/demo.txt -r requirements/dev.txt
	$(CLASSIC)/bin/pip install -q --no-deps -r requirements/demo-nodeps.txt
	$(CLASSIC)/bin/pip install -q wheel ninja psutil
	CFLAGS=-g0 MMCV_WITH_OPS=1 $(CLASSIC)/bin/pip install -q --no-build-isolation \
	    --cache-dir $(MMCV_WHEELS)/$$($(CLASSIC)/bin/python -c 'import torch; print(torch.__version__)') mmcv==2.1.0
	touch $@

# Installed for real, not editable: mim looks for configs and tools inside the installed package.
%/.installed: %/.requirements $(SOURCES)
	rm -rf build
	$*/bin/pip install -q --no-deps --no-build-isolation --force-reinstall .
	rm -rf build
	touch $@

DEMO := work_dirs/demo
# The two photographs that scikit-learn brings along; no model has been trained on them.
PHOTOS := $(VENV)/lib/$(notdir $(PYTHON))/site-packages/sklearn/datasets/images
WEIGHTS := configs/weights/lightglean_twemoji_4x.safetensors
# Of 235 held-out emoji.
FEW := --cfg-options test_dataloader.dataset.indices=40

demo: setup
	mkdir -p $(DEMO)
	@echo '== A photograph, 4x, with the default model'
	$(BIN)/glean-plus restore $(PHOTOS)/flower.jpg $(DEMO)/flower_4x.png --overwrite
	@echo '== Two photographs shrunk 4x, as they are and by JPEG, restored by two models, beside bicubic'
	$(BIN)/glean-plus peers --gt $(PHOTOS) --crop 384 --entries bicubic --degrade clean jpeg75 \
	    --models lightglean_photo_4x lightglean_photo_blind_4x \
	    --scores PSNR ST-LPIPS --images 0 1 --out-images $(DEMO)/photographs.png
	@echo '== Twemoji, 64 px, with MATLAB-bicubic inputs'
	$(MIM) run glean_plus prepare_twemoji data/twemoji
	@echo '== The shipped LightGLEAN 4x on 40 of the held-out emoji'
	$(MIM) test glean_plus lightglean_twemoji_4x.py --checkpoint $(WEIGHTS) --work-dir $(DEMO)/shipped $(FEW)
	@echo '== A short training of the same model, from the pre-trained bank'
	rm -rf $(DEMO)/trained
	$(MIM) train glean_plus lightglean_twemoji_4x.py --work-dir $(DEMO)/trained --cfg-options \
	    train_cfg.max_iters=200 train_cfg.val_interval=1000 default_hooks.logger.interval=20 \
	    default_hooks.checkpoint.interval=200
	@echo '== What 200 iterations have learned'
	$(MIM) test glean_plus lightglean_twemoji_4x.py --checkpoint $(DEMO)/trained/iter_200.pth --work-dir $(DEMO)/trained $(FEW)
	@echo
	@echo 'input | bicubic | ours | truth:'
	@echo '  photographs:                   $(DEMO)/photographs.png'
	@echo '  emoji, shipped weights:        $(DEMO)/shipped/comparison.png'
	@echo '  emoji, after 200 iterations:   $(DEMO)/trained/comparison.png'
	@echo 'and a restored photograph of 2560x1708 pixels:   $(DEMO)/flower_4x.png'

# Side by side, on the CPU alone, one thread each: most of the tests' time is single-threaded start-up of processes.
TEST_PROCESSES ?= 2
test: setup
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal --durations 15

test-classic: classic
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(CLASSIC)/bin/python -m pytest -n $(TEST_PROCESSES) --dist worksteal --durations 15

# Lines of the package that the tests run, those of the processes that they start included.
coverage: setup
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist worksteal --cov=glean_plus

# What takes minutes: a hundred kills, four processes, hundreds of skipped steps.
soak: setup
	CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m soak -s

lint: setup
	$(BIN)/ruff check .
	$(BIN)/mypy glean_plus
	$(BIN)/hadolint Dockerfile

$(VENV)/.docs: requirements/docs.txt $(VENV)/.requirements
	$(BIN)/pip install -q -r requirements/docs.txt
	touch $@

# Every warning is an error, a broken link among them. Nothing is fetched.
docs: setup $(VENV)/.docs
	$(BIN)/python -W ignore -m sphinx -q -W --keep-going -d docs/_build/doctrees -b html docs docs/_build/html

# Do the tests find small faults in the banks, fusion, folding and weights? About an hour on two cores.
mutants: setup
	$(BIN)/pip install -q cosmic-ray==8.7.0
	$(BIN)/python -W ignore tests/helpers/mutants.py --number 300 --jobs 2 --out work_dirs/mutants

wheel: setup
	$(BIN)/pip wheel -q --no-deps --no-build-isolation -w dist .
	rm -rf build
	$(BIN)/twine check --strict dist/*.whl

clean:
	rm -rf build dist docs/_build *.egg-info
