#!/usr/bin/env bash
# Everything that is checked without running the code; all checks run, the last line tells which failed.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=${VENV:-.venv}/bin
packages=("$@")
failed=()

check() {
  local name=$1; shift
  printf '\033[1m%s\033[0m\n' "$name"
  "$@" || failed+=("$name")
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export BREAKWATER_VAR=$scratch/centre MEP_VAR=$scratch/edge

check "ruff check" "$bin/ruff" check .
check "ruff format" "$bin/ruff" format --check .
check "mypy, the centre and the libraries" "$bin/mypy" "${packages[@]}"
# The edge has Django settings of its own, and one run of mypy knows one settings module.
check "mypy, the edge" "$bin/mypy" --config-file mep/mypy.ini mep
check "texts in every language" "$bin/python" tools/messages.py --check
check "doors" "$bin/lint-imports"
check "migrations of the centre" "$bin/python" manage.py makemigrations --check --dry-run --settings mecm.settings
check "migrations of the edge" "$bin/python" manage.py makemigrations --check --dry-run --settings mep.settings

if ((${#failed[@]})); then
  printf '\033[1;31mmake check FAILED: %s\033[0m\n' "$(IFS=,; echo "${failed[*]}")"
  exit 1
fi
printf '\033[1;32mmake check passed\033[0m\n'
