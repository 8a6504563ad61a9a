# Every target sets up what it needs, in .venv: nothing has to be installed first but make and a
# Python 3.10 to 3.13. `make PYTHON=python3.12 test` chooses one.

.PHONY: help demo ui test check format constraints schemas

export PYTHON
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV

# Where nobody looks at the list of skipped tests, a missing component is a failure.
ifeq ($(CI),true)
export MLTRAIN_REQUIRE ?= postgres,airflow,java,spark,ssh,docker
endif

bin := .venv/bin

# `make AT_ONCE=2 test` runs the tests of two files at once, which is quicker where there are cores.
at_once := $(if $(AT_ONCE),-n $(AT_ONCE) --dist loadfile --no-loadscope-reorder)

help:
	@echo "make demo         train a model from a Dag, on this machine"
	@echo "make ui           look at what the demo left in Airflow's own pages"
	@echo "make test         run the tests; make test T=tests/runs for some of them"
	@echo "make check        everything that CI checks: format, lint, types, layers, wheel, tests"
	@echo "make format       format the code, and repair what lint can repair"
	@echo "make schemas      write docs/schemas anew, for editors of run configurations and jobs"
	@echo "make constraints  write constraints.txt anew; UPGRADE=--upgrade for newest versions"

demo:
	@scripts/install
	$(bin)/python scripts/demo.py

ui:
	@scripts/install
	$(bin)/python scripts/demo.py ui

test:
	@scripts/install dev
	@scripts/install-services
	$(bin)/pytest $(at_once) $(T)

check:
	@scripts/install dev
	@scripts/install-services
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	$(bin)/lint-imports
	scripts/check-wheel
	$(bin)/pytest $(at_once) --durations 40

format:
	@scripts/install dev
	$(bin)/ruff format .
	$(bin)/ruff check --fix .

constraints:
	@scripts/install uv
	scripts/constraints $(UPGRADE)

schemas:
	@scripts/install
	$(bin)/python -m airflow_mltrain.config.file_schema docs/schemas
