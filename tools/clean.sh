#!/usr/bin/env bash
# Remove what was built or written. Never takes away the data of a Breakwater that runs.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -f var/up.pid ] && kill -0 "$(cat var/up.pid)" 2>/dev/null; then
  echo "Breakwater runs (process $(cat var/up.pid)); end it first." >&2
  exit 1
fi
[ -x "${VENV:-.venv}/bin/python" ] && [ -d var ] && "${VENV:-.venv}/bin/python" manage.py up --only-clean || true
rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
rm -rf var 2>/dev/null || sudo rm -rf var
find . -name __pycache__ -prune -not -path './node_modules/*' -exec rm -rf {} +
