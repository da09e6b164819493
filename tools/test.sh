#!/usr/bin/env bash
# The suite of the centre, then that of the edge (one process holds one settings module), both in random order.
# SUITES=centre or SUITES=edge runs one of them alone.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${VENV:-.venv}/bin
jobs=${JOBS:-3}
failed=()
started=$SECONDS

suite() {
  local name=$1; shift
  [[ " ${SUITES:-centre edge} " == *" $name "* ]] || return 0
  printf '\033[1mtests of the %s\033[0m\n' "$name"
  "$@" || failed+=("$name")
}

# loadscope would keep a slow file on one process; the default spreads tests.
suite centre env DJANGO_SETTINGS_MODULE=tests.centre_settings "$bin/python" -m pytest -n "$jobs" "$@"
suite edge env DJANGO_SETTINGS_MODULE=tests.edge_settings "$bin/python" -m pytest -n "$jobs" tests/mep "$@"

if ((${#failed[@]})); then
  printf '\033[1;31mmake test FAILED in the tests of: %s (%d s)\033[0m\n' "$(IFS=,; echo "${failed[*]}")" $((SECONDS - started))
  exit 1
fi
printf '\033[1;32mmake test passed in %d s\033[0m\n' $((SECONDS - started))
