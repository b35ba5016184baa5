# The commands of this project; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install demo test check bench lock clean
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

test: ## the whole suite, on a real TimescaleDB
	@.ci/install --database
	@$(BIN)/pytest --numprocesses auto --dist loadfile

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

clean: ## delete .venv, local databases and caches (asks nothing)
	@[ ! -x $(BIN)/beachhead ] || $(BIN)/beachhead db down
	rm -rf .venv .beachhead build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
