#!/usr/bin/env bash
# Build the Debian package of vire-edge for Debian 12 or Raspberry Pi OS 12 (64-bit): program, Python packages, service.
# It takes Python 3.11 with pip and dpkg; the package itself installs without a network.
#
#   deploy/build-deb.sh                  for this machine's architecture, into dist/
#   deploy/build-deb.sh --arch arm64     for amd64 or arm64: nothing built is run, so no emulator is needed
#   deploy/build-deb.sh --out DIR        … into DIR
#   deploy/build-deb.sh --fast           … packed in seconds instead of minutes, and a good quarter larger, for trials
#   deploy/build-deb.sh --pin            instead renew deploy/debian/requirements.txt: the newest releases that
#                                        pyproject.toml allows, with the digests of their files
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=deploy/common.sh
source "$here/deploy/common.sh"

readonly PYTHON=3.11 # Debian 12's; another Debian takes other wheels and another Depends in debian/control
readonly GLIBC=36    # Debian 12's is 2.36, and wheels name the oldest that they run on
readonly HOME_DIR=opt/vire-edge/venv
readonly SITE=$HOME_DIR/lib/python$PYTHON/site-packages
readonly DEBIAN=$here/deploy/debian
readonly PINS=$DEBIAN/requirements.txt

arch='' out=$here/dist pin='' compression=(-Zxz)
while (($#)); do
  case $1 in
    --arch) arch=${2:-} && shift ;;
    --out) out=${2:-} && shift ;;
    --fast) compression=(-Zzstd -z3) ;;
    --pin) pin=yes ;;
    -h | --help)
      sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit
      ;;
    *) die "unknown option '$1'; there is --arch ARCH, --out DIR, --fast, --pin" ;;
  esac
  shift || die "the last option needs a value"
done

# Byte code is made for the interpreter that will run it.
python=$(command -v "python$PYTHON") || die "Python $PYTHON is needed to build" "sudo apt-get install python$PYTHON"
"$python" -m pip --version >/dev/null 2>&1 || die "$python has no pip" "sudo apt-get install python3-pip"
command -v dpkg-deb >/dev/null || die "dpkg-deb is needed; build on Debian or a system derived from it"
arch=${arch:-$(dpkg --print-architecture)}

# Set the array `target`: pip's options for wheels of a Debian architecture, whatever this machine is.
aim_at() { # ARCH
  local machine minor
  case $1 in
    amd64) machine=x86_64 ;;
    arm64) machine=aarch64 ;;
    *) die "there are packages for amd64 and arm64, not for '$1'" ;;
  esac
  target=(--only-binary=:all: --implementation cp --python-version "$PYTHON" --abi "cp${PYTHON/./}" --abi abi3 --abi none)
  target+=(--platform "manylinux2014_$machine")
  for ((minor = 17; minor <= GLIBC; minor++)); do target+=(--platform "manylinux_2_${minor}_$machine"); done
}

pip_quietly() { "$python" -m pip --quiet --disable-pip-version-check --no-input "$@" </dev/null; }

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
umask 022

# --- the pins ---------------------------------------------------------------------------------

renew_pins() {
  local each
  for each in amd64 arm64; do
    aim_at "$each"
    say "Looking for the newest packages for $each"
    pip_quietly install --dry-run --ignore-installed --target "$work/none" --report "$work/$each.json" \
      "${target[@]}" --requirement <("$python" "$DEBIAN/pins.py" wanted "$here/pyproject.toml")
  done
  "$python" "$DEBIAN/pins.py" pinned "$work"/*.json >"$work/pins"
  cp -- "$work/pins" "$PINS"
  say "Wrote $PINS"
}

if [[ -n $pin ]]; then
  renew_pins
  exit
fi

# --- the tree ---------------------------------------------------------------------------------

version=$("$python" -c 'import sys; sys.path.insert(0, sys.argv[1]); import vire_edge; print(vire_edge.__version__)' "$here")
# Every time stamp in the package: that of the sources, so that the same sources make the same package.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || stat -c %Y "$here/CHANGELOG.md")}
export SOURCE_DATE_EPOCH

aim_at "$arch"
tree=$work/tree
mkdir -p -- "$tree/$SITE" "$tree/$HOME_DIR/bin" "$out"
out=$(cd -- "$out" && pwd -P)

fetch_packages() {
  wheels=$here/build/wheels-$arch # kept: a second build fetches nothing
  if is_current "$wheels" "$PINS"; then return; fi
  say "Fetching the Python packages for $arch"
  rm -rf -- "$wheels"
  pip_quietly download --dest "$wheels" --no-deps --require-hashes --requirement "$PINS" "${target[@]}" ||
    die "the Python packages cannot be fetched (reason above)"
  mark_current "$wheels" "$PINS"
}

place_packages() {
  say "Building vire-edge $version"
  pip_quietly wheel --no-deps --wheel-dir "$work" "$here"
  pip_quietly install --root-user-action=ignore --target "$tree/$SITE" --no-deps --no-index --no-compile \
    "${target[@]}" "$wheels"/*.whl "$work"/vire_edge-*.whl
  # Commands of other packages, and pip's notes on an installation that is dpkg's from here on.
  rm -rf -- "${tree:?}/$SITE/bin"
  find "$tree/$SITE" -path '*.dist-info/*' \
    \( -name RECORD -o -name INSTALLER -o -name REQUESTED -o -name direct_url.json \) -delete
  # numpy's tests of itself, 8 MB.
  find "$tree/$SITE/numpy" -type d -name tests -prune -exec rm -rf -- {} +
}

# What `python3 -m venv` would leave at the place where it will stand.
place_environment() {
  printf '%s\n' 'home = /usr/bin' 'include-system-site-packages = false' "version = $PYTHON" >"$tree/$HOME_DIR/pyvenv.cfg"
  ln -s "/usr/bin/python$PYTHON" "$tree/$HOME_DIR/bin/python3"
  install -m 0755 /dev/stdin "$tree/$HOME_DIR/bin/vire-edge" <<SCRIPT
#!/$HOME_DIR/bin/python3
import sys

from vire_edge.cli import main

sys.exit(main())
SCRIPT
  install -d -- "$tree/usr/bin"
  ln -s "/$HOME_DIR/bin/vire-edge" "$tree/usr/bin/vire-edge"
  # The service may not write here, so without this it would compile everything at each start. dpkg sees to it
  # that byte code and source belong together.
  "$python" -m compileall -q --invalidation-mode unchecked-hash -s "$tree" -p / "$tree/$SITE" ||
    die "a Python package cannot be compiled (reason above)"
}

place_system_files() {
  install -D -m 0640 -- "$here/deploy/config.example.toml" "$tree/etc/vire-edge/config.toml"
  install -D -m 0644 -t "$tree/lib/systemd/system" -- "$here/systemd/vire-edge.service"
  install -D -m 0644 -t "$tree/lib/udev/rules.d" -- "$here/systemd/70-vire-edge.rules"
  install -D -m 0644 -- "$here/systemd/modules-load.conf" "$tree/usr/lib/modules-load.d/vire-edge.conf"
  local doc=$tree/usr/share/doc/vire-edge
  install -D -m 0644 -t "$doc" -- "$DEBIAN/copyright" "$here/README.md"
  printf 'vire-edge (%s) bookworm; urgency=medium\n\n  * %s\n\n -- %s  %s\n' "$version" \
    "What is new is told in CHANGELOG.md.gz." "$(sed -n 's/^Maintainer: //p' "$DEBIAN/control")" \
    "$(date --utc --rfc-email --date="@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
  gzip -9n <"$here/CHANGELOG.md" >"$doc/CHANGELOG.md.gz"
  install -D -m 0644 -- "$DEBIAN/lintian-overrides" "$tree/usr/share/lintian/overrides/vire-edge"
}

describe_package() {
  # Whatever the sources' own modes: read by all, written by root. The configuration may come to hold a password.
  chmod -R u+rwX,go+rX,go-w -- "$tree"
  chmod 0640 -- "$tree/etc/vire-edge/config.toml"
  install -d -m 0755 -- "$tree/DEBIAN"
  sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$(du -sk --apparent-size "$tree" | cut -f1)/" \
    "$DEBIAN/control" >"$tree/DEBIAN/control"
  echo /etc/vire-edge/config.toml >"$tree/DEBIAN/conffiles"
  (cd -- "$tree" && find . -path ./DEBIAN -prune -o -type f ! -path './etc/*' -printf '%P\0' | sort -z |
    xargs -0 md5sum) >"$tree/DEBIAN/md5sums"
  install -m 0755 -t "$tree/DEBIAN" -- "$DEBIAN"/{preinst,postinst,prerm,postrm}
}

fetch_packages
place_packages
place_environment
place_system_files
describe_package
say "Packing"
package=$out/vire-edge_${version}_$arch.deb
dpkg-deb --root-owner-group "${compression[@]}" --build "$tree" "$package" >/dev/null
say "Built $package ($(du -m "$package" | cut -f1) MB, installed $(du -sm "$tree" | cut -f1) MB)"
