#!/usr/bin/env bash
# Makes .venv with the pinned dependencies and damselfly itself in it; quick when it is there.
#
#   scripts/setup.sh         what is needed to run damselfly
#   scripts/setup.sh --dev   also what is needed to check and test it
#
# PYTHON names the interpreter to use; otherwise the first on PATH that is new enough.
set -euo pipefail
cd "$(dirname "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
export PATH="$PATH:/usr/sbin:/sbin"

requirements=(requirements/build.txt requirements/run.txt)
kind=run
if [[ "${1:-}" == --dev ]]; then
  requirements+=(requirements/dev.txt)
  kind=dev
fi

say() { printf 'setup: %s\n' "$*" >&2; }

python_found() {
  local python
  for python in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14}; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$python"
      return
    fi
  done
  say "no Python 3.11 or newer on PATH; install one, or name it: PYTHON=... make setup"
  return 1
}

can_apt() { [[ "$(id -u)" == 0 ]] && command -v apt-get >/dev/null; }

# Debian packages: installed when we may, otherwise named. Never fatal: a test that needs
# one says so itself.
install_debian() {
  can_apt || { say "missing: $* (as root: apt-get install $*)"; return 0; }
  say "installing Debian packages: $*"
  # Tests start their own daemons; those of the packages must not run. Debian asks this file.
  local policy=/usr/sbin/policy-rc.d is_ours=
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && is_ours=yes
  fi
  if ! { apt-get update -qq </dev/null &&
         DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 \
           install -qq -y --no-install-recommends "$@" </dev/null; } >/dev/null; then
    say "could not install: $*"
  fi
  [[ -z $is_ours ]] || rm -f "$policy"
}

debian_missing() {
  local package command
  while read -r package command; do
    [[ -z "$package" || "$package" == \#* ]] && continue
    command -v "$command" >/dev/null || printf '%s\n' "$package"
  done <requirements/debian.txt
}

# 1. Programs that tests use.
if [[ "$kind" == dev ]]; then
  mapfile -t missing < <(debian_missing)
  if (( ${#missing[@]} )); then install_debian "${missing[@]}"; fi
fi

# 2. A virtual environment.
if ! .venv/bin/python -c 'import pip' >/dev/null 2>&1; then
  python="$(python_found)"
  if ! "$python" -c 'import ensurepip' >/dev/null 2>&1; then
    install_debian python3-venv
  fi
  say "making .venv with $("$python" --version)"
  "$python" -m venv --clear .venv
fi

# 3. Packages, unless the same ones were installed before. What dev installs, run includes.
stamp="$(cat "${requirements[@]}" pyproject.toml | sha256sum | cut -d' ' -f1)"
if [[ "$(cat ".venv/.installed-$kind" 2>/dev/null)" != "$stamp" ]]; then
  say "installing packages ($kind)"
  pinned=()
  for file in "${requirements[@]}"; do pinned+=(-r "$file"); done
  .venv/bin/python -m pip install -q "${pinned[@]}" </dev/null
  .venv/bin/python -m pip install -q --no-deps --no-build-isolation -e . </dev/null
  .venv/bin/python -m pip check </dev/null >&2
  printf '%s\n' "$stamp" >".venv/.installed-$kind"
fi
