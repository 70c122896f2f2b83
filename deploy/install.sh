#!/usr/bin/env bash
# Install vire-edge as a service on Debian 12 or Raspberry Pi OS (64-bit), or upgrade it; run it as root from a checkout.
# An upgrade keeps configuration and state. If the new version cannot be installed or does not start, the old one runs on.
#
#   sudo deploy/install.sh               install or upgrade, start
#   sudo deploy/install.sh --no-start    … without starting or enabling anything
#   sudo deploy/install.sh --uninstall   remove the program; configuration and state stay
#   sudo deploy/install.sh --uninstall --purge   … and remove them, too
#   deploy/install.sh --root DIR         only place the files, under DIR, the root of another system: no packages, user
#                                        or service
set -euo pipefail

# The system's Python, not one of a user's own that the service could not read.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=deploy/common.sh
source "$here/deploy/common.sh"

readonly SERVICE=vire-edge # also the name of its user

uninstall='' purge='' start=yes root=''
while (($#)); do
  case $1 in
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    --no-start) start='' ;;
    --root)
      [[ -d ${2:-} ]] || die "--root needs a folder that exists, got '${2:-}'"
      root=$(cd -- "$2" && pwd -P)
      shift
      ;;
    -h | --help)
      sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
      exit
      ;;
    *) die "unknown option '$1'; there is --no-start, --uninstall, --purge, --root DIR" ;;
  esac
  shift
done
[[ -z $purge || -n $uninstall ]] || die "--purge belongs to --uninstall"
((EUID == 0)) || [[ -n $root ]] || die "this writes to /opt and /etc; run it as root:" "sudo ${BASH_SOURCE[0]}"

home=$root/opt/vire-edge
etc=$root/etc/vire-edge
state=$root/var/lib/vire-edge
unit=$root/etc/systemd/system/$SERVICE.service
filter=$unit.d/address-filter.conf
rules=$root/etc/udev/rules.d/70-$SERVICE.rules
modules=$root/etc/modules-load.d/$SERVICE.conf
link=$root/usr/local/bin/vire-edge
venv=$home/venv               # a link to the environment in use
install_log=$home/install.log # outlives an environment that could not be made
new=''                        # an environment that is not in use yet
changed=''                    # whether the service has to start anew
stopped=''                    # whether it would stay stopped if this ended here

# Whether this system has a systemd that is running: not so in a container or a chroot.
systemd_runs() { [[ -z $root && -d /run/systemd/system ]]; }
service_runs() { systemd_runs && systemctl --quiet is-active "$SERVICE"; }

reload() {
  systemd_runs || return 0
  systemctl daemon-reload
  udevadm control --reload
  udevadm trigger --subsystem-match=video4linux
}

remove() {
  if systemd_runs; then systemctl --quiet disable --now "$SERVICE" 2>/dev/null || true; fi
  rm -f -- "$unit" "$filter" "$rules" "$modules"
  reload
  if [[ -L $link ]]; then rm -f -- "$link"; fi
  rm -rf -- "$home"
  say "Removed the program and its service"
  local left=()
  [[ ! -e $etc ]] || left+=("the configuration ($etc)")
  [[ ! -e $state ]] || left+=("the state ($state)")
  if [[ -z $purge ]]; then
    if ((${#left[@]})); then say "Still there: $(listed "${left[@]}"); to remove that, too: --uninstall --purge"; fi
    return
  fi
  rm -rf -- "$etc" "$state" "$state.before" "$unit.d"
  if [[ -z $root ]] && id "$SERVICE" >/dev/null 2>&1; then
    userdel "$SERVICE"
    left+=("the user $SERVICE")
  fi
  if ((${#left[@]})); then say "Removed $(listed "${left[@]}")"; fi
}

listed() { # ITEM...
  printf '%s' "$1"
  shift
  if (($#)); then printf ', %s' "$@"; fi
}

add_user() {
  # The state directory is its home, made by systemd when the service starts. Group video opens cameras.
  if ! id "$SERVICE" >/dev/null 2>&1; then
    say "Adding the system user $SERVICE"
    useradd --system --user-group --no-create-home --home-dir /var/lib/vire-edge --shell /usr/sbin/nologin "$SERVICE"
  fi
  if getent group video >/dev/null; then usermod --append --groups video "$SERVICE"; fi
}

# Make a new environment beside the one in use: neither a failure nor a power cut in the middle touches that one.
make_program() {
  [[ -L $venv || ! -e $venv ]] ||
    die "$venv is there, but not from this script" "remove what put it there, such as: sudo apt-get remove $SERVICE"
  local sources
  mapfile -t sources < <(find "$here"/{vire_edge,models,systemd,pyproject.toml} -name __pycache__ -prune -o -type f -print |
    LC_ALL=C sort)
  if is_current "$venv" "${sources[@]}" && "$venv/bin/python" -P -m vire_edge --version >/dev/null 2>&1; then
    say "The program is up to date"
    return
  fi
  mkdir -p -- "$home"
  new=$(mktemp -d -- "$home/venv-XXXXXX")
  make_venv "$python" "$new"
  say "Installing the program (about 200 MB the first time, some minutes on a Raspberry Pi)"
  # A copy, not editable: what runs as a service changes only here.
  pip_install "$new" "$here"
  if [[ -n $root ]]; then stand_without_root "$new/bin/vire-edge"; fi
  # With what the system needs of this version, so that going back brings that back, too.
  install -D -m 0644 -t "$new/systemd" -- "$here"/systemd/*
  mark_current "$new" "${sources[@]}"
  # The service's user reads it; it can't be written by anyone but root.
  chmod -R u+rwX,go+rX,go-w -- "$new"
}

# Let a command's first line name its interpreter as it will be called where DIR is the root. Until then the program
# runs as a module.
stand_without_root() { # COMMAND
  local text
  text=$(<"$1")
  printf '%s\n' "${text//"$root/opt/"//opt/}" >"$1"
}

place_configuration() {
  local config=$etc/config.toml
  if [[ -e $config ]]; then
    say "Keeping the configuration $config"
  else
    say "Writing the configuration $config: every setting is explained there"
    install -d -m 0755 -- "$etc"
    install -m 0640 -- "$here/deploy/config.example.toml" "$config"
  fi
  # It may come to hold a password: the service reads it, others don't.
  chmod 0640 -- "$config"
  if [[ -z $root ]]; then chown "root:$SERVICE" "$config"; fi
}

# Whether the program that is about to be used takes the configuration that is there.
check_configuration() {
  local as_service=(runuser -u "$SERVICE" --)
  [[ -z $root ]] || as_service=()
  "${as_service[@]}" "${new:-$venv}/bin/python" -P -m vire_edge check-config "$etc/config.toml" ||
    die "the configuration $etc/config.toml is not valid (reason above); nothing was changed or started" \
      "correct it and run this again"
}

use() { # ENVIRONMENT
  # Put in place by one rename: at no moment is there no program.
  ln -sfn -- "$(basename -- "$1")" "$venv.next"
  mv -T -- "$venv.next" "$venv"
  mkdir -p -- "$(dirname -- "$link")"
  ln -sfn -- "${venv#"$root"}/bin/vire-edge" "$link"
}

place_file() { # SOURCE TARGET
  if cmp --silent -- "$1" "$2"; then return; fi
  install -D -m 0644 -- "$1" "$2"
  changed=yes
}

place_system_files() {
  place_file "$venv/systemd/$SERVICE.service" "$unit"
  place_file "$venv/systemd/70-$SERVICE.rules" "$rules"
  # A kernel without the driver would report a failure at each boot.
  if [[ -n $root ]] || modprobe --quiet --dry-run uvcvideo 2>/dev/null; then
    place_file "$venv/systemd/modules-load.conf" "$modules"
  fi
  local before=''
  if [[ -e $filter ]]; then before=$(<"$filter"); fi
  "$venv/bin/python" -P -m vire_edge address-filter --config "$etc/config.toml" --write "$filter" ||
    warn "the address filter could not be written (reason above); the service runs without a change to it"
  if [[ $before != "$([[ ! -e $filter ]] || cat -- "$filter")" ]]; then changed=yes; fi
}

remove_environments_not_in_use() {
  local environment
  for environment in "$home"/venv-*; do
    [[ $environment -ef $venv ]] || rm -rf -- "$environment"
  done
}

# Returns once the daemon has reported that it is ready, or has failed.
start_service() {
  stopped=''
  systemctl restart "$SERVICE" && return
  journalctl --unit "$SERVICE" --lines 15 --no-pager --output cat >&2 || true
  return 1
}

# Put the new version in the place of the old one; back, if it does not start.
upgrade() {
  local old=''
  if [[ -L $venv ]]; then old=$(readlink -f -- "$venv"); fi
  if systemd_runs && [[ -n $old && -n $new && -n $start && -d $state ]]; then
    # The new version may bring the state into a form that the old one cannot read.
    stopped=yes
    systemctl stop "$SERVICE"
    rm -rf -- "$state.before"
    cp -a -- "$state" "$state.before"
  fi
  if [[ -n $new ]]; then
    use "$new"
    new=''
    changed=yes
  fi
  place_system_files
  [[ -z $root ]] || return 0
  if ! systemd_runs; then
    warn "systemd is not running here, so nothing was started; on the device: sudo systemctl enable --now $SERVICE"
    return
  fi
  if [[ -n $changed ]]; then reload; fi
  if [[ -z $start ]]; then
    say "Not started; to start it now and at each boot: sudo systemctl enable --now $SERVICE"
    return
  fi
  systemctl --quiet enable "$SERVICE"
  if [[ -z $changed ]] && service_runs; then
    say "Nothing has changed; it runs"
    return
  fi
  if start_service; then
    rm -rf -- "$state.before"
    say "Running; follow it with: journalctl -u $SERVICE -f"
    return
  fi
  if [[ -z $old || $old -ef $venv ]]; then
    die "the service did not start (its last lines are above)" "see: sudo systemctl status $SERVICE; vire-edge doctor"
  fi
  systemctl stop "$SERVICE"
  use "$old"
  place_system_files
  if [[ -d $state.before ]]; then
    rm -rf -- "$state"
    mv -T -- "$state.before" "$state"
  fi
  reload
  start_service || die "the new version did not start (its last lines are above), and now the old one does not either"
  remove_environments_not_in_use
  die "the new version did not start (its last lines are above); the old one runs again, with its state"
}

if [[ -n $uninstall ]]; then
  remove
  exit
fi

# However this ends: nothing half made is left, and what was stopped for a moment runs.
trap '[[ -z $new ]] || rm -rf -- "$new"; [[ -z $stopped ]] || systemctl start "$SERVICE"' EXIT
python=$(find_python)
require_64_bit "$python"
packages=()
if [[ -z $root ]]; then
  need_python_packages "$python"
  apt_install "${packages[@]}"
  add_user
fi
make_program
place_configuration
check_configuration
upgrade
# What still runs from an environment keeps it until the next time.
if [[ -n $start ]] || ! service_runs; then remove_environments_not_in_use; fi
if [[ -n $root ]]; then
  say "Placed under $root"
  exit
fi
say "Check camera, model and broker at any time with: sudo -u $SERVICE vire-edge doctor"
