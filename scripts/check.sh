#!/usr/bin/env bash
# Runs the checks that read the code without running it: all of them, or those named.
#
#   scripts/check.sh [format] [lint] [types] [floors] [dependencies] [spelling]
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh --dev
export PATH="$PWD/.venv/bin:$PATH"

check_format() { ruff format --check .; }
check_lint() { ruff check .; }
check_types() { mypy; }
check_floors() { lint-imports; }
check_dependencies() { deptry .; }
check_spelling() { codespell; }

checks=("$@")
(( $# )) || checks=(format lint types floors dependencies spelling)
failed=()
for check in "${checks[@]}"; do
  printf '== %s\n' "$check"
  "check_$check" </dev/null || failed+=("$check")
done
if (( ${#failed[@]} )); then
  printf 'failed checks: %s\n' "${failed[*]}" >&2
  exit 1
fi
