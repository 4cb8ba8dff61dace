# Everything a user or contributor does, by name. `make` alone lists it.
# Nothing has to be installed but git, make and Python >= 3.11: see .ci/environment.

PYTHON ?=
WORKERS ?= 2
BIN := .venv/bin
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help env demo dev test check fmt generate bench clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env:  ## create .venv with the locked packages (all other targets do it too)
	@.ci/environment

demo: env  ## run examples/order-insights from event to result
	@$(BIN)/agentworkflow run examples/order-insights/workflow.yaml --event examples/order-insights/order.json
	@echo "The notification is in examples/order-insights/data/notifications.txt. What to try next is in examples/order-insights/README.md."

dev: env  ## keep examples/order-insights running, reloading on change
	@$(BIN)/agentworkflow dev examples/order-insights/workflow.yaml

test: env  ## every test that needs no cluster; says what it skipped and why (T=path for some)
ifdef T
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile $(T)
else
	@PYTHONPATH=.ci $(BIN)/pytest -n $(WORKERS) --dist loadfile --cov --cov-config=.ci/coverage.ini --cov-report= -p coverage_floor tests examples
endif

check: env  ## lint, format, types, layers, and that generated files are fresh
	@echo "ruff: lint and format"
	@$(BIN)/ruff check --quiet && $(BIN)/ruff format --quiet --check
	@echo "mypy: strict types"
	@MYPYPATH=.ci $(BIN)/mypy --no-error-summary services tests bench .ci
	@for example in examples/*/; do MYPYPATH=$$example $(BIN)/mypy --no-error-summary $$example || exit 1; done
	@echo "import-linter: layers"
	@said=$$($(BIN)/lint-imports --no-logo --no-cache 2>&1) || { echo "$$said"; exit 1; }
	@echo "generated files are fresh"
	@$(BIN)/python -m agentworkflow.workflow.crd --check

fmt: env  ## format, and mend what the linter can
	@$(BIN)/ruff format --quiet && $(BIN)/ruff check --quiet --fix

generate: env  ## write the generated files anew (CRD, JSON Schema)
	@$(BIN)/python -m agentworkflow.workflow.crd

bench: env  ## re-run every published figure
	@for figure in bench/*.py; do echo "== $$figure"; $(BIN)/python "$$figure" || exit 1; done

clean:  ## remove what make made
	@rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov dist build
	@rm -rf examples/order-insights/data
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
