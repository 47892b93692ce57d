# What one does in this house. `make` alone lists it.

PYTHON ?= python3
BIN := .venv/bin
JOBS ?= auto
SECONDS ?= 60
SEEDS ?= 1000
STEPS ?= 1000000
CHILDREN ?= 100000
ORDERS ?= 200

.DEFAULT_GOAL := help
.PHONY: help setup run test check lint types imports docs bench bench-peers simulate chaos chaos-postgres chaos-graphs hot-parent \
	attack cluster bloat format clean counts bench-growth bench-workers

help:  ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## .venv with perdure in it; quick when nothing changed
	@tools/setup "$(PYTHON)"

run: setup  ## carry real workflows on real data to their end
	@$(BIN)/python examples/run.py

test: setup  ## the whole test suite (JOBS=1 for one process)
	@$(BIN)/python -m pytest -q -n $(JOBS)

check: lint types imports docs  ## lint, types, import contracts, documentation

lint: setup
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: setup
	@$(BIN)/mypy

imports: setup
	@$(BIN)/lint-imports --no-cache

docs: setup  ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup  ## measure, on a file and on PostgreSQL; prints the table and writes bench/results/latest.json
	@$(BIN)/python -m bench $(ARGS)

counts: setup  ## what a step costs, in counts, beside the last release's (ARGS='--accept "why"')
	@$(BIN)/python -m bench.counts $(ARGS)

bench-peers: setup  ## measure peers beside it, in the same run (half an hour; ARGS="--repeat 5 --publish")
	@bench/peers/setup
	@$(BIN)/python -m bench.peers $(ARGS)

bench-workers: setup  ## one to four workers on one PostgreSQL; some six minutes (ARGS="--publish")
	@$(BIN)/python -m bench.scaling $(ARGS)

bench-growth: setup  ## measure how cost grows with size, up to a million of each thing; half an hour
	@$(BIN)/python -m bench.growth

simulate: setup  ## live through random worlds where all goes wrong (SEEDS=1000 SEED=first)
	@$(BIN)/python tests/simulation/run.py --seeds $(SEEDS) --first $(or $(SEED),0)

chaos: setup  ## kill it, fill its disk, cut its power (SECONDS=60 SEED=n)
	@$(BIN)/python tests/chaos/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

chaos-postgres: setup  ## four workers on PostgreSQL: kill, pause, cut off them and it (SECONDS=60 SEED=n)
	@$(BIN)/python tests/chaos/run.py cluster network proxies skew --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) \
		--results tests/chaos/results/postgres.json

chaos-graphs: setup  ## all recorded graphs of science on four workers, two of which are killed (SEED=n)
	@$(BIN)/python tests/chaos/run.py graphs $(if $(SEED),--seed $(SEED)) --results tests/chaos/results/graphs.json

hot-parent: setup  ## one execution with very many children on PostgreSQL: time and memory (CHILDREN=100000)
	@$(BIN)/python tests/chaos/run.py parent --children $(CHILDREN) --results tests/chaos/results/parent.json

attack: setup  ## attack expressions, definitions and journals (SECONDS=60 SEED=n)
	@$(BIN)/python tests/attack/run.py --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

cluster: setup  ## PostgreSQL and four workers, one of which is killed; shows how its work goes on (ORDERS=200)
	@$(BIN)/python tests/cluster/run.py --orders $(ORDERS)

bloat: setup  ## a million steps on PostgreSQL: how many dead rows they leave (STEPS=1000000)
	@STEPS=$(STEPS) $(BIN)/python -m pytest -q -n 0 -s tests/store/postgres/test_dead_rows.py

format: setup  ## format the code
	@$(BIN)/ruff check --fix --exit-zero --quiet
	@$(BIN)/ruff format

clean:  ## remove .venv and all that is generated
	rm -rf .venv site dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench/results/*.json tests/*/results/*.json .peers
	find src tests bench examples -name __pycache__ -type d -prune -exec rm -rf {} +
