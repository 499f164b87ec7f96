.PHONY: help setup demo check test bench

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup:  ## .venv with damselfly and all that checks and tests need
	@scripts/setup.sh --dev

demo:  ## a small swarm on this machine
	@scripts/demo.sh

check:  ## the checks that read the code: format, lint, types, floors, dependencies, spelling
	@scripts/check.sh

test: check  ## the checks, then all tests
	@scripts/test.sh

bench:  ## the benchmarks; each prints numbers with units
	@scripts/bench.sh
