#!/usr/bin/env bash
# The suite of the centre, and beside it that of the edge in one process (one process holds one settings module), both in
# random order. SUITES=centre or SUITES=edge runs one of them alone, JOBS says how many processes there are in all.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${VENV:-.venv}/bin
jobs=${JOBS:-3}
suites=" ${SUITES:-centre edge} "
failed=()
started=$SECONDS
beside=
trap '[[ -z $beside ]] || kill "$beside" 2>/dev/null' EXIT

suite() {
  printf '\033[1mtests of the %s\033[0m\n' "$1"
}

# loadscope would keep a slow file on one process; the default spreads tests.
centre() {
  env DJANGO_SETTINGS_MODULE=tests.centre_settings "$bin/python" -m pytest -n "$jobs" "$@"
}

edge() {
  exec env DJANGO_SETTINGS_MODULE=tests.edge_settings "$bin/python" -m pytest -n "$jobs" tests/mep "$@"
}

if [[ $suites == *" centre "* && $suites == *" edge "* ]] && ((jobs > 1)); then
  # Every process looks for its tests first, which takes it seconds: one is enough for the smaller suite.
  told=$(mktemp)
  (jobs=1; edge "$@") >"$told" 2>&1 &
  beside=$!
  jobs=$((jobs - 1))
fi
if [[ $suites == *" centre "* ]]; then
  suite centre
  centre "$@" || failed+=(centre)
fi
if [[ -n $beside ]]; then
  wait "$beside" || failed+=(edge)
  beside=
  suite edge
  cat "$told"
  rm -f "$told"
elif [[ $suites == *" edge "* ]]; then
  suite edge
  (edge "$@") || failed+=(edge)
fi

if ((${#failed[@]})); then
  printf '\033[1;31mmake test FAILED in the tests of: %s (%d s)\033[0m\n' "$(IFS=,; echo "${failed[*]}")" $((SECONDS - started))
  exit 1
fi
printf '\033[1;32mmake test passed in %d s\033[0m\n' $((SECONDS - started))
