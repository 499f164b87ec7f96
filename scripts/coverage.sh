#!/usr/bin/env bash
# Holds that the tests of core and wire pass through each of their branches.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --dev
export COVERAGE_FILE=.coverage
.venv/bin/coverage run --source=damselfly.core,damselfly.wire -m pytest -q \
  tests/core tests/wire tests/stories tests/fuzz </dev/null
.venv/bin/coverage report --show-missing --skip-covered --fail-under=100
