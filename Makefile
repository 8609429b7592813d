# `make repro` trains, judges and reports; `make test` runs the tests, but those of `make e2e` and `make nightly`. All run
# in .venv, which builds itself from requirements.lock. It needs Python 3.11, 3.12 or 3.13: the first that fits of
# python3, python3.13, python3.12 and python3.11 on PATH, or PYTHON=/path/to/python. `make clean` forgets the choice.

UV_VERSION := 0.13.9
SYSTEM_PATH := $(PATH)
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Test files are shared among this many processes; TEST_WORKERS=0 runs them in one.
WORKERS := -n $(or $(TEST_WORKERS),2) --dist loadfile --no-loadscope-reorder

# DVC wants to know who runs it, and in a container a user may have a number and no name.
export USER ?= $(shell { id -un || id -u; } 2>/dev/null)

# No tool calls home.
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PREFECT_SERVER_ANALYTICS_ENABLED := false

# Stages started by one make call are one run in MLflow.
ifndef MMESID_EXECUTION
export MMESID_EXECUTION := make-$(shell date -u +%Y%m%dT%H%M%SZ)-$(shell echo $$PPID)
endif

comma := ,
BENCHES := packed_vs_padded packed_vs_authors evaluate equal_steps loss_memory scaling stages serving encoding  # modules of benchmarks/

.DEFAULT_GOAL := help
.PHONY: help repro paper test nightly check e2e static weights deps bench soak ui lock results clean moved checkout

help:  ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1	\2/p' Makefile

repro: checkout .venv/.stamp  ## run the pipeline; DATASETS=a,b runs only these (names listed under `datasets` in params.yaml)
	@mmesid mend
	@steps=$$(mmesid sources --datasets "$(DATASETS)") && echo "$$steps" | while read -r step; do \
	  echo "dvc repro $$step"; dvc repro $$step </dev/null || exit; done

paper: checkout .venv/.stamp  ## the paper's datasets: a plan, then the pipeline; PRESET=paper DATASETS=amazon-beauty FROM=ADDRESS GPUS=8
	@told=$$(mmesid paper --preset "$(PRESET)" --datasets "$(DATASETS)" --from "$(FROM)" $(if $(GPUS),--gpus $(GPUS))) \
	  || exit; set -- $$told; \
	MMESID_PROCESSES=$$1 make --no-print-directory repro DATASETS="$$2"

test: .venv/.stamp  ## every test but those of `make e2e` and `make nightly`, pipeline and flow included (minutes)
	pytest $(WORKERS) --ignore=tests/e2e -m "not nightly"

nightly: .venv/.stamp  ## tests on real weights (`make weights` first) and real catalogues where there are such, then a few kills and faults
	pytest --ignore=tests/e2e -m "nightly or realdata" --durations=8
	python -m tests.soak --kills $(or $(KILLS),5) --seed $(or $(SEED),0)

check: static  ## the gate: format, lint, types, unit tests
	pytest $(WORKERS) --ignore=tests/e2e -m "not pipeline and not nightly"

e2e: .venv/.stamp  ## `mmesid up` in a browser, on sqlite and on Postgres with S3 (Debian's chromium and postgresql)
	pytest -m e2e --durations=8 tests/e2e

static: .venv/.stamp  ## the part of the gate that runs no test
	ruff format --check
	ruff check
	mypy

weights: .venv/.stamp  ## fetch real pretrained weights, 190 MB, into a folder of the user's; nothing needs them
	mmesid weights

deps: .venv/.stamp  ## the code of each stage, file by file, into dvc.yaml; after a change of imports
	python -m mmesid.pipeline.deps

bench: .venv/.stamp  ## measure speed and memory into docs/performance.md (long); BENCH="evaluate stages" runs only these
	@set -e; for name in $(or $(BENCH),$(BENCHES)); do echo "bench: $$name"; python -m benchmarks.$$name; done
	@python -m benchmarks.render

soak: .venv/.stamp  ## kill and break a retraining system at random, then demand that nothing is lost (long); KILLS=50 SEED=0
	python -m tests.soak --kills $(or $(KILLS),50) --seed $(or $(SEED),0)

# The database stands in the environment, where no process list shows its password.
ui: .venv/.stamp  ## MLflow's pages on this machine only; PORT=5000
	@mmesid log
	@case "$$MLFLOW_TRACKING_URI" in http*) echo "MLflow's pages are at" \
	  "$$(echo "$$MLFLOW_TRACKING_URI" | sed 's|//[^/]*@|//|'), which MLFLOW_TRACKING_URI names."; exit;; esac; \
	export MLFLOW_BACKEND_STORE_URI="$${MLFLOW_TRACKING_URI:-sqlite:///$(CURDIR)/mlruns/mlflow.db}"; \
	unset MLFLOW_TRACKING_URI; export MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false; \
	echo "MLflow: http://127.0.0.1:$(or $(PORT),5000)  (Ctrl-C ends it)"; \
	exec mlflow server --host 127.0.0.1 --port $(or $(PORT),5000) --workers 1 \
	  --default-artifact-root "$(CURDIR)/mlruns/artifacts"

results: .venv/.stamp  ## the table of the README from reports/*/metrics.json
	mmesid results --write README.md

lock: .uv/.stamp  ## renew requirements.lock from pyproject.toml; UPGRADE=1 takes newer versions
	.uv/bin/uv pip compile --quiet pyproject.toml --extra dev --extra s3 --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --custom-compile-command "make lock" $(if $(UPGRADE),--upgrade) --output-file requirements.lock

clean:  ## delete the environment and the tools' caches; results (data/, reports/, mlruns/, DVC's cache) stay
	rm -rf .venv .uv .dvc/tmp .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src flows tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Bytecode is compiled here once: where PYTHONDONTWRITEBYTECODE is set, as in many containers, every stage would compile
# what it imports anew, for up to ten seconds.
# The stamp is written last and holds the folder's path: an interrupted build or a moved folder starts afresh,
# a changed lock only changes what differs.
ifneq ($(shell cat .venv/.stamp 2>/dev/null),$(CURDIR))
.venv/.stamp: moved
endif

# Building empties what is in the way, and a link would let it empty another checkout's environment.
moved:
	@test ! -L .venv || test ! -e .venv/pyvenv.cfg || { echo ".venv is a link to $$(readlink .venv), an environment that" \
	  "was not built for $(CURDIR) and would be emptied: remove the link (\`rm .venv\`), then the same again." >&2; exit 1; }

.venv/.stamp: requirements.lock pyproject.toml | .uv/.stamp
	@test "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" || .uv/bin/uv venv --quiet --clear --python .uv/bin/python .venv
	@rm -f $@
	.uv/bin/uv pip sync --python .venv/bin/python --require-hashes --compile-bytecode requirements.lock
	.uv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation --editable .
	@echo "$(CURDIR)" > $@

# DVC finds the project through git, which a downloaded ZIP lacks: said before minutes go into an environment.
checkout:
	@command -v git >/dev/null || { echo "git is not on PATH, and DVC needs it: install it, then the same again." >&2; \
	  exit 1; }
	@fault=$$(LC_ALL=C git rev-parse --git-dir 2>&1 >/dev/null) || { \
	  remedy=$$(printf '%s\n' "$$fault" | sed -n 's/^[[:space:]]*\(git config .*safe\.directory.*\)/\1/p'); \
	  case "$$fault" in \
	    *safe.directory*) echo "git refuses $(CURDIR), and DVC needs it: dubious ownership. Where you trust who wrote it," \
	      "run \`$$remedy\`, then the same again.";; \
	    *"not a git repository"*) echo "$(CURDIR) is no git repository, and DVC needs one ($$fault)." \
	      "Where this is a downloaded ZIP, run \`git init\` here, then the same again.";; \
	    *) echo "git refuses $(CURDIR), and DVC needs it: $$fault";; \
	  esac >&2; exit 1; }

.uv/.stamp: export PATH := $(SYSTEM_PATH)
.uv/.stamp: | checkout
	@python=; for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	  if $$candidate -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
	    python=$$candidate; break; fi; done; \
	test -n "$$python" || { echo "mme-sid needs Python 3.11, 3.12 or 3.13, and $(or $(PYTHON),python3 on PATH) is" \
	  "$$($(or $(PYTHON),python3) --version 2>&1). Name another: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }; \
	echo "Building .venv with $$($$python --version) ($$python)"; \
	$$python -m venv --clear .uv
	@.uv/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@
