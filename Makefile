# The commands of this project; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install demo test test-long test-stack check bench up down backup restore lock clean
PACKAGES := ingest pipelines dags schemas analytics
BIN := .venv/bin
# Byte code is worth seconds at every start of a large program.
unexport PYTHONDONTWRITEBYTECODE

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "make %-10s %s\n", $$1, $$2 }'

install: ## make .venv from the lock file
	@.ci/install

demo: ## the whole path on this machine, then serve until Ctrl-C (SERVE=0: stop after printing)
	@.ci/install --database
	@$(BIN)/beachhead demo $(if $(filter 0,$(SERVE)),--no-serve)

# Files keep their order, which puts those of short tests last: all processes end at about the same time.
test: ## the whole suite, on a real TimescaleDB
	@.ci/install --database
	@$(BIN)/pytest --ignore tests/stack --numprocesses auto --dist loadfile --no-loadscope-reorder

# Whatever has a short form in `make test` and a full one here is marked `long`: see tests/campaign.py. Properties
# (Hypothesis) look at more and other examples. SEED decides what is drawn: one that failed is given again to repeat it.
SEED := $(or $(SEED),$(shell date +%s))
test-long: ## the full campaigns: fuzzing, faults, properties (SEED=n: a run again)
	@.ci/install --database
	@echo "seed $(SEED): make test-long SEED=$(SEED) draws the same again"
	@BEACHHEAD_LONG=$(SEED) $(BIN)/pytest -m "long or hypothesis" --hypothesis-seed=$(SEED) --timeout=3600 \
		--numprocesses auto --dist worksteal --verbose --durations=10

test-stack: install ## the whole stack on a Docker engine; starts one of its own where root may
	@BEACHHEAD_TEST_ENGINE=own $(BIN)/pytest tests/stack --timeout=900 --durations=8 $(if $(ONLY),-k "$(ONLY)")

check: install ## lint, format, types, imports, migrations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict $(PACKAGES)
	@$(BIN)/lint-imports
	@$(BIN)/beachhead migrate --check

bench: install ## measured speed beside others' (ONLY=ingest: one part)
	@$(BIN)/python -m tests.benchmarks $(if $(ONLY),--only $(ONLY))

lock: ## compile requirements.lock anew from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-header --quiet --output-file requirements.lock

# Profiles: scale (RECEIVERS=2 WORKERS=2), observe. `make up PROFILES=scale,observe WORKERS=4`.
COMPOSE := COMPOSE_PROFILES=$(PROFILES) $(if $(findstring scale,$(PROFILES)),STACK_EXECUTOR=CeleryExecutor) \
	$(if $(RECEIVERS),STACK_RECEIVERS=$(RECEIVERS)) $(if $(WORKERS),STACK_WORKERS=$(WORKERS)) docker compose
up: ## the whole stack in containers (PROFILES=scale,observe)
	@docker/secrets
	@$(COMPOSE) up --detach --wait --build --remove-orphans
	@echo "Receiver http://127.0.0.1:8000  Pages http://127.0.0.1:8001  Airflow http://127.0.0.1:8080 (admin; password in .env)"

down: ## stop the stack; its data stays
	@COMPOSE_PROFILES=scale,observe docker compose down --remove-orphans

backup: ## database and landing store into TO=folder
	@docker/backup $(or $(TO),$(error say where: make backup TO=folder))

restore: ## replace both by those of FROM=folder
	@docker/restore $(or $(FROM),$(error say from where: make restore FROM=folder))

clean: ## delete .venv, local databases and caches (asks nothing)
	@[ ! -x $(BIN)/beachhead ] || $(BIN)/beachhead db down
	rm -rf .venv .beachhead build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
