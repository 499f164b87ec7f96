.PHONY: help setup demo check test bench

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile

setup:  ## .venv with damselfly and all that checks and tests need
	@scripts/setup.sh --dev

demo:  ## a small swarm on this machine
	@scripts/demo.sh

check:  ## the checks that read the code: format, lint, types, floors, dependencies, spelling
	@scripts/check.sh

test: check  ## the checks, then all tests, then whether those of core and wire pass everywhere
	@scripts/test.sh
	@scripts/coverage.sh

bench:  ## the benchmarks; each prints numbers with units
	@scripts/bench.sh
