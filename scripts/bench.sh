#!/usr/bin/env bash
# Runs the benchmarks: every program in bench/, or those named, such as `scripts/bench.sh joins`.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/.."
scripts/setup.sh --dev
programs=(bench/*.py)
if (( $# )); then programs=("${@/#/bench/}"); programs=("${programs[@]/%/.py}"); fi
for program in "${programs[@]}"; do
  grep -q '^def main' "$program" || continue  # a module that others use
  printf '== %s\n' "$program"
  .venv/bin/python "$program"
done
