#!/usr/bin/env bash
# From a checkout on a bare Debian 12 or Raspberry Pi OS (64-bit) to a running demo. Arguments go to `vire-edge demo`.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=deploy/common.sh
source "$here/deploy/common.sh"

python=$(find_python)
require_64_bit "$python"

packages=()
need_python_packages "$python"
apt_install "${packages[@]}"

venv=$here/.venv
make_venv "$python" "$venv"
if ! is_current "$venv" "$here/pyproject.toml" || ! runs_checkout "$venv" "$here"; then
  say "Installing vire-edge and what it needs (about 200 MB, some minutes on a Raspberry Pi)"
  # Editable: after a `git pull` the new code runs without another installation.
  pip_install "$venv" --editable "$here"
  mark_current "$venv" "$here/pyproject.toml"
fi

say "Starting: vire-edge demo $*"
exec "$venv/bin/vire-edge" demo "$@"
