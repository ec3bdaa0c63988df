# `make run` and `make test` need Python 3.11+, pip and make; they set up the rest in .venv.
PYTHON ?= python3
BIN := .venv/bin
SIZE ?= small

.PHONY: run test test-long torture lint format samples docs bench lock clean

run: .venv/ready
	$(BIN)/bouncehouse run --home data --inbox samples

test: .venv/ready
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder

# What takes many builds: kills, erasures, homes put back from elsewhere. Some minutes; .ci/run has these too.
test-long: .venv/ready
	$(BIN)/pytest -n 2 --dist loadgroup --no-loadscope-reorder -m long

# What takes an hour and more: kills, spoilt files, histories. TORTURE_KILLS says how many runs are killed, TORTURE_SEED
# repeats those of an earlier time.
torture: .venv/ready
	$(BIN)/pytest -m torture -s --timeout 0

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/sqlfluff lint --disable-progress-bar models tests/dbt

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/sqlfluff fix --disable-progress-bar models tests/dbt

samples: .venv/ready
	rm -rf samples
	$(BIN)/bouncehouse generate samples --messages 280 --days 7 --first-day 2026-03-02 --seed 20260307 --bad-records

# The data dictionary, from the samples; and dbt's own site of all models and tests: open target/docs/static_index.html. dbt keeps
# its statistics to itself (dbt_project.yml), and the one file needs no server.
docs: .venv/ready
	rm -rf target/docs-home target/docs
	$(BIN)/bouncehouse run --home target/docs-home --inbox samples
	$(BIN)/python -m flows.dictionary target/docs-home/bouncehouse.duckdb docs/data_dictionary.md
	BOUNCEHOUSE_WORK_DATABASE=target/docs-home/work.duckdb $(BIN)/dbt docs generate --quiet --static --profiles-dir . --target-path target/docs \
		--log-path target/docs

# SIZE=full for the figures of docs/performance.md, which takes hours
bench: .venv/ready
	$(BIN)/python bench/all.py --size $(SIZE) --json target/bench.json

# Hashes only: no index address and no annotation, so the file is the same wherever it is made.
lock: .venv/ready
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --no-header -o requirements.lock

.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bouncehouse needs Python 3.11 or later: make PYTHON=python3.11 …")'
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(BIN)/pip install --quiet --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

clean:
	rm -rf .venv data target logs dist
