# rlimit: one header; nothing to build to use it. `make help` lists the targets.

VERSION := $(shell sed -n 's/^\#define RLM_VERSION "\(.*\)"/\1/p' rlimit.h)
PREFIX ?= /usr/local
CC ?= cc
CFLAGS ?= -O2
WARN := -Wall -Wextra -Wpedantic -Wconversion
PYTHON := build/venv/bin/python
DATA ?= ../shared/data
HEADERS := rlimit.h $(sort $(wildcard ext/*.h))
PACKAGE := pyproject.toml setup.py MANIFEST.in bindings/python/_rlimit.c $(wildcard bindings/python/rlimit/*.py*) $(HEADERS)
INCLUDE := $(DESTDIR)$(PREFIX)/include
LIB := $(DESTDIR)$(PREFIX)/lib

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

demo: setup-demo build/batch build/venv/.package node ## 500 support tickets through a metered relay, the usual way and limited, told no limits; INPUT=file (COLUMN=name) for yours
	@PYTHONPATH=tests $(PYTHON) examples/demo.py $(if $(COLUMN),--column "$(COLUMN)") $(if $(INPUT),"$(INPUT)")
	@$(if $(INPUT),:,PYTHONPATH=tests $(PYTHON) examples/python/demo.py)
	@if [ -z "$(INPUT)" ] && [ -d examples/node/node_modules ]; then echo; PYTHON="$(abspath $(PYTHON))" node examples/node/demo.mjs; fi

test: setup-test build/batch build/basic build/threads node ## every test; the last line counts them
	@PYTHONPATH=tests $(PYTHON) -m pytest -q tests

check-long: setup-evidence ## 10^8 operations of the simulator, and of a new seed; proofs; every interleaving without a bound
	@RLIMIT_SIM_OPS=100000000 PYTHONPATH=tests $(PYTHON) -m pytest -q -n0 tests/test_sim.py
	@RLIMIT_LONG=1 PYTHONPATH=tests $(PYTHON) -m pytest -q -n0 tests/test_proof.py
	@gcc -std=gnu11 -O2 -I. -Itests/c -Itests/explore tests/explore/scenarios.c -o build/tests/explore-long && build/tests/explore-long --long

bench: setup-bench build/bench build/trace build/libfeedback.so node ## one line a figure: value, floor measured in the same run, ratio
	@build/bench
	@if [ -f "$(DATA)/azure_llm_conv.csv.gz" ]; then $(PYTHON) bench/trace.py build/trace "$(DATA)/azure_llm_conv.csv.gz"; \
	else echo "bench trace skipped: no $(DATA)/azure_llm_conv.csv.gz"; fi
	@$(PYTHON) bench/feedback.py build/libfeedback.so $(wildcard $(DATA)/azure_llm_conv.csv.gz)
	@$(PYTHON) bench/python.py
	@if [ -d bench/node/node_modules ]; then node --expose-gc bench/node/bench.mjs; fi

bench-peers: setup-bench node ## rlimit beside its peers, installed in build/peers, about 15 minutes; writes docs/peers.md and its plots
	@DATA="$(DATA)" $(PYTHON) bench/peers/run.py --report

evidence: setup-evidence build/venv/.package build/bench build/trace build/libfeedback.so node ## what shows that it is right, and how fast: about an hour; steps whose files have not changed are kept; writes docs/evidence.md
	@DATA="$(DATA)" $(PYTHON) tests/evidence/evidence.py

dist: ## in build/dist: the Python package's sdist and manylinux wheels for every CPython found; the Node package with its add-ons
	@python3 bindings/python/dist.py
	@python3 bindings/node/dist.py

setup-demo setup-test setup-bench setup-evidence: setup-%:
	@tests/setup.sh $*

node:
	@if command -v node >/dev/null && [ -d examples/node/node_modules ]; then node bindings/node/install.js; fi

build/venv/.package: $(PACKAGE)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall .
	@touch $@

build/batch: examples/batch.c $(wildcard examples/batch_*.h) $(HEADERS)
	@mkdir -p build
	$(CC) -std=c11 $(WARN) $(CFLAGS) -I. -Iext examples/batch.c -o $@ $$(pkg-config --cflags --libs libcurl jansson)

build/basic: examples/basic.c $(HEADERS)
	@mkdir -p build
	$(CC) $(WARN) $(CFLAGS) -I. $< -o $@

build/threads: examples/threads.c $(HEADERS)
	@mkdir -p build
	$(CC) $(WARN) $(CFLAGS) -pthread -I. -Iext $< -o $@

build/bench: bench/bench.c $(HEADERS)
	@mkdir -p build
	$(CC) $(WARN) $(CFLAGS) -pthread -I. -Iext $< -o $@

build/trace: bench/trace.c $(HEADERS)
	@mkdir -p build
	$(CC) $(WARN) $(CFLAGS) -I. $< -o $@

build/libfeedback.so: bench/feedback.c $(HEADERS)
	@mkdir -p build
	$(CC) $(WARN) $(CFLAGS) -shared -fPIC -I. -Iext $< -o $@

install: ## copy the headers, with files for pkg-config and CMake, to PREFIX (/usr/local) under DESTDIR
	install -d "$(INCLUDE)" "$(LIB)/pkgconfig" "$(LIB)/cmake/rlimit"
	install -m 644 $(HEADERS) "$(INCLUDE)"
	printf 'prefix=%s\nincludedir=$${prefix}/include\n\nName: rlimit\nDescription: rate limiting for callers of metered APIs\nVersion: %s\nCflags: -I$${includedir}\n' \
	    "$(PREFIX)" "$(VERSION)" > "$(LIB)/pkgconfig/rlimit.pc"
	install -m 644 cmake/rlimit-config.cmake "$(LIB)/cmake/rlimit"
	sed 's/@VERSION@/$(VERSION)/' cmake/rlimit-config-version.cmake.in > "$(LIB)/cmake/rlimit/rlimit-config-version.cmake"

uninstall: ## remove what install copied
	rm -f $(addprefix "$(INCLUDE)"/,$(notdir $(HEADERS))) "$(LIB)/pkgconfig/rlimit.pc"
	rm -rf "$(LIB)/cmake/rlimit"

clean: ## remove build/, the virtual environment included, and what npm installed
	rm -rf build bindings/python/rlimit/*.so bindings/python/*.egg-info $(addsuffix /node/node_modules,examples tests bench)

.PHONY: help demo test check-long bench bench-peers evidence dist node setup-demo setup-test setup-bench setup-evidence install uninstall clean
.DEFAULT_GOAL := help
