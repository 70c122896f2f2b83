#!/usr/bin/env bash
# Everything that must be green: format, lint, types, layers, tests with coverage of the pure core, and the built
# wheel without the source tree. With arguments it is pytest alone: deploy/test.sh -k alerts
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=deploy/common.sh
source "$here/deploy/common.sh"
cd "$here"

# The nouns and the rules, which take time as an argument and do no I/O: nothing excuses an untested branch there.
readonly PURE_CORE=(domain smoothing alerts tracking messages)
readonly MIN_COVERAGE=95

# --- what the tests need ----------------------------------------------------------------------

python=$(find_python)
require_64_bit "$python"

packages=()
need_python_packages "$python"
need_command mosquitto mosquitto             # the real broker that the tests start
need_command mosquitto_sub mosquitto-clients # what a caregiver's app would see
need_command shellcheck shellcheck           # these scripts
need_command systemd-analyze systemd         # the unit
need_command faketime faketime               # a clock that is set under a running daemon
need_command mke2fs e2fsprogs                # a small disk to fill and to damage
apt_install "${packages[@]}"

venv=$here/.venv-test
make_venv "$python" "$venv"
if ! is_current "$venv" pyproject.toml || ! runs_checkout "$venv" "$here"; then
  say "Installing vire-edge with what training and tests need (about 1 GB)"
  pip_install "$venv" --upgrade 'pip>=25.1' # the first that reads dependency groups
  pip_install "$venv" --editable '.[train]' --group dev
  mark_current "$venv" pyproject.toml
fi
export PATH=$venv/bin:$PATH:/usr/sbin:/sbin # Debian keeps Mosquitto in sbin, which users lack

if (($#)); then exec python -m pytest "$@" </dev/null; fi

# --- the steps --------------------------------------------------------------------------------

results=()
failed=0
# Run one step; a failure is remembered, so that one run tells everything.
step() { # NAME COMMAND...
  local name=$1 status=0 start=$SECONDS
  shift
  say "$name"
  "$@" </dev/null || status=$?
  if ((status)); then
    failed=1
    results+=("$(printf 'FAILED %4d s  %s (status %d)' $((SECONDS - start)) "$name" "$status")")
  else
    results+=("$(printf 'ok     %4d s  %s' $((SECONDS - start)) "$name")")
  fi
}

step "ruff format" ruff format --check
step "ruff check" ruff check
step "mypy" mypy
step "import-linter" lint-imports
step "pytest" python -m pytest --numprocesses 2 --dist loadfile --cov --cov-report= --durations=10
step "coverage of the pure core" coverage report --fail-under="$MIN_COVERAGE" --show-missing \
  --include="$(printf 'vire_edge/%s.py,' "${PURE_CORE[@]}")$(printf 'vire_edge/%s/*,' "${PURE_CORE[@]}")"
step "wheel without the source tree" bash deploy/check-wheel.sh

say "Summary"
printf '    %s\n' "${results[@]}"
exit "$failed"
