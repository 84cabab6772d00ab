# make demo and make test are all a user needs; each installs what is missing into .venv first.
PYTHON ?= python3
PY := .venv/bin/python
STAMP := .venv/.installed

DEMO := demo
DEMO_ZOO := $(DEMO)/zoo
DEMO_NAME := deepcluster-digits
DEMO_SEED := 0
# The random trunk has the Sobel stem too: what differs is what was learned, not what is seen.
DEMO_CKPTS := $(DEMO_NAME),random:sobel_resnet18
# The linear probes run in processes of their own, one a core; what is left is too short for that.
# The numbers of threads are fixed, so that they do not change the last bits.
DEMO_PROBES := imagenet_linear,imagenet_avgpool,places205_linear,inaturalist18_linear
DEMO_BENCHMARKS = $(PY) -m benchmarks --ckpt $(DEMO_CKPTS) --suite digits --data $(DEMO)/data \
  --zoo $(DEMO_ZOO) --workers 0

.PHONY: demo docs check-docs test lint install clean perf-svm perf-slurm perf-stream perf-decode perf-deepcluster perf-probe prove prove-crowd prove-pretraining prove-demo learn prove-cluster slurm-test perf-bootstrap prove-coverage

demo: $(STAMP)
	$(PY) -m benchmarks.datasets.digits $(DEMO)/data
	$(PY) -m pretrain deepcluster --recipe digits_sobel_resnet18-12e --data $(DEMO)/data/imagenet \
	  --name $(DEMO_NAME) --resume --zoo $(DEMO_ZOO) --workers 0 --threads 2 \
	  --seed $(DEMO_SEED)
	$(DEMO_BENCHMARKS) --only $(DEMO_PROBES) --cluster local --threads 1
	$(DEMO_BENCHMARKS) --threads 2
	$(PY) -m reports --zoo $(DEMO_ZOO) --readme $(DEMO_ZOO)/README.md \
	  --plots $(DEMO_ZOO)/pictures --html $(DEMO_ZOO)/index.html --format markdown

# The records of a demo, and from them the tables of README.md and the pictures.
REPORT_README := $(PY) -m reports --zoo docs/demo --readme README.md
REPORT_PICTURES := $(PY) -m reports --zoo docs/demo --readme docs/demo/pictures.md \
  --plots docs/demo/pictures
REPORT_PUBLISHED := $(PY) -m reports --zoo docs/demo --readme docs/published.md

docs: demo
	rm -rf docs/demo/results docs/demo/checkpoints docs/demo/pictures
	cd $(DEMO_ZOO) && cp --parents results/*/*/*.json checkpoints/*/card.json $(CURDIR)/docs/demo
	$(REPORT_README)
	$(REPORT_PICTURES)
	$(REPORT_PUBLISHED)
	$(PY) tests/perf/measured.py
	$(PY) tests/perf/costs.py
	$(PY) tests/perf/demo.py

check-docs: $(STAMP)
	$(REPORT_README) --check
	$(REPORT_PICTURES) --check
	$(REPORT_PUBLISHED) --check
	$(PY) tests/perf/measured.py --check
	$(PY) tests/perf/costs.py --check
	$(PY) tests/perf/demo.py --check

install: $(STAMP)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than 3.11; run make PYTHON=python3.12 (or newer)" >&2; exit 2; }
	@$(PYTHON) -m venv .venv \
	  || { echo "error: python3-venv is missing; run: apt-get install python3-venv" >&2; exit 2; }
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

# One thread per process, since as many processes run as there are cores.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n auto --dist worksteal

lint: $(STAMP)
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

# Installs a SLURM with apt where it is missing (exit 3: it may not), and starts it on loopback.
slurm-test: $(STAMP)
	@sh tests/slurm/install.sh; status=$$?; \
	  if [ $$status = 3 ]; then exit 0; elif [ $$status != 0 ]; then exit $$status; fi; \
	  OMP_NUM_THREADS=1 $(PY) -m pytest tests/slurm/real --durations=10

# Ratios measured side by side; each run leaves its figures as data, for README.md.
FIGURES := tests/perf/results

perf-slurm: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/perf/slurm.py --json $(FIGURES)/slurm.json

perf-deepcluster: $(STAMP)
	@mkdir -p $(FIGURES)
	OMP_NUM_THREADS=2 $(PY) tests/perf/deepcluster.py --json $(FIGURES)/deepcluster.json

# With the kernels that OpenBLAS chooses for the processor, whatever the environment has it take.
OWN := env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE $(PY)

# And once beside them with those for AVX2, which older processors take.
perf-svm: $(STAMP)
	@mkdir -p $(FIGURES)
	$(OWN) tests/perf/svm.py --spectrum slow --json $(FIGURES)/svm-slow.json
	$(OWN) tests/perf/svm.py --spectrum fast --json $(FIGURES)/svm-fast.json
	$(OWN) tests/perf/svm_ratios.py --json $(FIGURES)/svm-ratios.json
	OPENBLAS_CORETYPE=Haswell $(PY) tests/perf/svm_ratios.py --json $(FIGURES)/svm-ratios-haswell.json
	$(OWN) tests/perf/svm_growth.py --json $(FIGURES)/svm-growth.json

perf-stream: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/perf/stream.py --json $(FIGURES)/stream.json

# k-NN, the path of logistic regressions, grids and the quick suite; beside the plain ways, which
# take most of it, half an hour, and ten minutes for the demo where it is not there.
perf-probe: demo
	@mkdir -p $(FIGURES)
	OMP_NUM_THREADS=2 $(PY) tests/perf/probe.py --json $(FIGURES)/probe.json
	OMP_NUM_THREADS=2 $(PY) tests/perf/grid.py --json $(FIGURES)/grid.json
	$(PY) tests/perf/quick.py --demo $(DEMO) --json $(FIGURES)/quick.json

# Fetches weights and photographs: apt-get install plasma-workspace-wallpapers mate-backgrounds
# lomiri-wallpapers-20.04
perf-decode: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/perf/decode.py --json $(FIGURES)/decode.json

perf-bootstrap: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/perf/bootstrap.py --json $(FIGURES)/bootstrap.json
	$(PY) tests/perf/intervals.py --json $(FIGURES)/intervals.json

# Longer proofs: that the SVMs are scikit-learn's, and that nothing is lost when a demo is killed.
prove: $(STAMP)
	@mkdir -p $(FIGURES)
	$(OWN) tests/proofs/svm_agreement.py --spectrum slow --json $(FIGURES)/agreement-slow.json
	$(OWN) tests/proofs/svm_agreement.py --spectrum fast --json $(FIGURES)/agreement-fast.json
	$(OWN) tests/proofs/svm_rounding.py --json $(FIGURES)/svm-rounding.json
	$(PY) tests/proofs/killed_demo.py --json $(FIGURES)/demo-killed.json

# How often the intervals of --ci hold a known figure, over 500 test sets; 5 minutes.
prove-coverage: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/proofs/coverage.py --json $(FIGURES)/coverage.json

# Twenty processes on one zoo, twins and kills, for five minutes.
prove-crowd: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/proofs/crowd.py --json $(FIGURES)/crowd.json

# DeepCluster wins the demo by other seeds and other instructions; six demos, 12 minutes.
prove-demo: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/proofs/demo_wins.py --json $(FIGURES)/demo-wins.json

# A pretraining killed twenty times, alone and as two processes.
prove-pretraining: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/proofs/killed_pretraining.py --json $(FIGURES)/pretraining-killed.json

# That DeepCluster learns: three seeds on Fashion-MNIST (apt-get install dataset-fashion-mnist), half
# an hour on two cores.
learn: $(STAMP)
	@mkdir -p $(FIGURES)
	$(PY) tests/proofs/learn.py --json $(FIGURES)/learn.json

# The README's section on clusters, run as it stands there on a SLURM of our own; as root.
prove-cluster: $(STAMP)
	@mkdir -p $(FIGURES)
	sh tests/slurm/install.sh
	$(PY) tests/proofs/readme_cluster.py --json $(FIGURES)/readme-cluster.json

clean:
	rm -rf .venv build *.egg-info
