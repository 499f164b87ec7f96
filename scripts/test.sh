#!/usr/bin/env bash
# Runs the tests: all of them, or what the arguments of pytest say.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --dev
exec .venv/bin/python -m pytest "$@" </dev/null
