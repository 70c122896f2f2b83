# shellcheck shell=bash
# What the scripts of this folder share; sourced, never run.

readonly MIN_PYTHON_MINOR=11 # Python 3.11, as in pyproject.toml

say() { printf '==> %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  if (($#)); then printf '       %s\n' "$@" >&2; fi
  exit 1
}

# Become root without ever asking for a password: these scripts run without a terminal, too.
may_be_root() { ((EUID == 0)) || sudo -n true 2>/dev/null; }
as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

# Print the newest-named Python that is new enough, plain `python3` first.
find_python() {
  local name found=''
  for name in python3 python3.14 python3.13 python3.12 python3.11; do
    command -v "$name" >/dev/null || continue
    if "$name" -c "import sys; sys.exit(sys.version_info < (3, $MIN_PYTHON_MINOR))" 2>/dev/null; then
      command -v "$name"
      return
    fi
    found=${found:-"$("$name" --version 2>&1 || true)"}
  done
  die "Python 3.$MIN_PYTHON_MINOR or newer is needed${found:+, this system has $found}" \
    "on Debian 12 or newer and Raspberry Pi OS (64-bit): sudo apt-get install python3 python3-venv"
}

# A 64-bit Raspberry Pi kernel may run a 32-bit system, so the interpreter is asked, not the kernel.
require_64_bit() {
  "$1" -c 'import sys; sys.exit(sys.maxsize < 2**32)' ||
    die "this is a 32-bit system ($(uname -m) kernel): ONNX Runtime has no packages for it" \
      "install the 64-bit Raspberry Pi OS or Debian (arm64 or amd64)"
}

# Add to the array `packages` what Debian needs for an environment of PYTHON with OpenCV in it.
need_python_packages() { # PYTHON
  # Debian keeps ensurepip in a package of its own, named after the interpreter's version.
  "$1" -c 'import ensurepip, venv' 2>/dev/null ||
    packages+=("$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')")
  # OpenCV's wheel needs two libraries that a system without a desktop lacks.
  "$1" -c 'import ctypes; ctypes.CDLL("libGL.so.1")' 2>/dev/null || packages+=(libgl1)
  "$1" -c 'import ctypes; ctypes.CDLL("libgthread-2.0.so.0")' 2>/dev/null || packages+=(libglib2.0-0)
}

# Add PACKAGE to the array `packages` unless COMMAND is there.
need_command() { # COMMAND PACKAGE
  PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null || packages+=("$2")
}

# Install Debian packages, or say exactly what to type.
apt_install() {
  (($#)) || return 0
  local command="apt-get install -y --no-install-recommends $*"
  command -v apt-get >/dev/null || die "this system has no apt-get; install the equivalent of: $*"
  may_be_root || die "system packages are missing and this user may not install them; run:" "sudo $command"
  say "Installing system packages: $*"
  # A list of packages that is old or, on a fresh image, absent makes the installation fail.
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update </dev/null ||
    warn "apt-get update failed; going on with the package lists that are here"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends "$@" \
    </dev/null >/dev/null || die "apt-get could not install: $*" "try yourself: sudo $command"
}

# Make DIR a virtual environment of PYTHON; one that is broken, moved or of another Python is made anew.
make_venv() { # PYTHON DIR
  local python=$1 venv=$2
  # pip's own script names the environment's path in its first line: a moved checkout shows there.
  if [[ -x $venv/bin/pip ]] && "$venv/bin/pip" --version >/dev/null 2>&1 &&
    [[ $("$venv/bin/python" -c 'import sys; print(sys.version, sys.prefix)') == \
    "$("$python" -c 'import sys; print(sys.version)') $venv" ]]; then
    return
  fi
  say "Making the environment $venv"
  "$python" -m venv --clear "$venv" || die "the environment $venv cannot be made (reason above)"
}

# Run pip, show a line for each larger step, keep the rest in a log (`install_log`) whose end is shown if it fails.
pip_install() { # VENV ARGUMENT...
  local venv=$1 log=${install_log:-$1/install.log}
  shift
  if ! "$venv/bin/python" -m pip install --no-input --disable-pip-version-check --progress-bar off "$@" </dev/null 2>&1 |
    tee "$log" | sed -n -E 's/^ *(Downloading .* MB\))$/    \1/p'; then
    tail -n 15 "$log" >&2
    die "pip could not install the Python packages (its last lines are above, all of them in $log)"
  fi
}

# Whether the environment already holds what these files ask for.
is_current() { [[ -f $1/stamp && $(<"$1/stamp") == "$(stamp_of "${@:2}")" ]]; }
# Whether VENV runs the code of the checkout DIR: `pip install .` would have put a copy in its place.
runs_checkout() { # VENV DIR
  [[ $("$1/bin/python" -I -c 'import vire_edge; print(vire_edge.__file__)' 2>/dev/null) == "$2/vire_edge/__init__.py" ]]
}
mark_current() { stamp_of "${@:2}" >"$1/stamp"; }
stamp_of() { cat "$@" | sha256sum; }
