#!/usr/bin/env bash
# Prepare .venv: `tools/bootstrap.sh runtime` for what runs, `tools/bootstrap.sh dev` for checks and tests as well.
# Installs what is missing and says so; does nothing when the lock file has not changed.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=${1:-runtime}
venv=${VENV:-.venv}
case $wanted in
  runtime) lock=requirements.lock ;;
  dev) lock=requirements-dev.lock ;;
  *) echo "usage: $0 runtime|dev" >&2; exit 2 ;;
esac

say() { printf '\033[1m%s\033[0m\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

apt_install() {
  command -v apt-get >/dev/null || { echo "Please install: $*" >&2; exit 1; }
  say "Installing from the distribution: $*"
  # The lists of a fresh image may be empty; asking for them costs more than trying first.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null 2>&1 && return
  as_root apt-get update -q >/dev/null
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@" >/dev/null
}

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && recent "$name"; then command -v "$name"; return; fi
  done
}

python=$(find_python)
if [ -z "$python" ]; then
  apt_install python3 || true
  python=$(find_python)
  [ -n "$python" ] || { apt_install python3.11; python=$(find_python); }
  [ -n "$python" ] || { echo "Python 3.11 or newer is needed; name it with PYTHON=..." >&2; exit 1; }
fi

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  # Debian keeps these apart from the interpreter.
  apt_install "$(basename "$(readlink -f "$python")")-venv"
fi

stamp=$venv/.installed-$wanted
fingerprint=$("$python" -c 'import hashlib, sys; print(sys.version.split()[0], hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$lock")
[ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$fingerprint" ] && exit 0

if ! [ -x "$venv/bin/python" ] || ! "$venv/bin/python" -c "import sys; sys.exit(sys.version.split()[0] != '${fingerprint%% *}')"; then
  say "Making the virtual environment $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi
say "Installing the locked packages of $lock"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock"
printf '%s\n' "$fingerprint" >"$stamp"
