#!/usr/bin/env bash
# Install vire-edge as a service on Debian 12 or Raspberry Pi OS (64-bit), or upgrade it; run it as root from a checkout.
#
#   sudo deploy/install.sh               install or upgrade, start
#   sudo deploy/install.sh --no-start    … without starting or enabling anything
#   sudo deploy/install.sh --uninstall   remove the program; configuration and state stay
#   sudo deploy/install.sh --uninstall --purge   … and remove them, too
#   deploy/install.sh --root DIR         only place the files, under DIR: no packages, user or service
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
link=$root/usr/local/bin/vire-edge
venv=$home/venv

# Whether this system has a systemd that is running: not so in a container or a chroot.
systemd_runs() { [[ -z $root && -d /run/systemd/system ]]; }

remove() {
  if systemd_runs; then systemctl --quiet disable --now "$SERVICE" 2>/dev/null || true; fi
  rm -f -- "$unit"
  if systemd_runs; then systemctl daemon-reload; fi
  if [[ -L $link ]]; then rm -f -- "$link"; fi
  rm -rf -- "$home"
  say "Removed the program and its service"
  if [[ -z $purge ]]; then
    say "Configuration ($etc) and state ($state) are still there; --uninstall --purge removes them"
    return
  fi
  rm -rf -- "$etc" "$state" "$unit.d"
  if [[ -z $root ]] && id "$SERVICE" >/dev/null 2>&1; then userdel "$SERVICE"; fi
  say "Removed the configuration, the state and the user $SERVICE"
}

add_user() {
  # The state directory is its home, made by systemd when the service starts. Group video opens cameras.
  if ! id "$SERVICE" >/dev/null 2>&1; then
    say "Adding the system user $SERVICE"
    useradd --system --user-group --no-create-home --home-dir /var/lib/vire-edge --shell /usr/sbin/nologin "$SERVICE"
  fi
  if getent group video >/dev/null; then usermod --append --groups video "$SERVICE"; fi
}

place_program() {
  mkdir -p -- "$home"
  make_venv "$python" "$venv"
  say "Installing the program into $venv (about 200 MB the first time, some minutes on a Raspberry Pi)"
  # A copy, not editable: what runs as a service changes only here.
  pip_install "$venv" --upgrade "$here"
  # The service's user reads it; it can't be written by anyone but root.
  chmod -R u+rwX,go+rX,go-w -- "$home"
  mkdir -p -- "$(dirname -- "$link")"
  ln -sfn -- "$venv/bin/vire-edge" "$link"
}

place_configuration() {
  local config=$etc/config.toml
  if [[ -e $config ]]; then
    say "Keeping the configuration $config"
  else
    say "Writing the configuration $config: every setting is explained there"
    install -d -m 0755 -- "$etc"
    install -m 0640 -- "$here/deploy/config.example.toml" "$config"
    # It may come to hold a password: the service reads it, others don't.
    if [[ -z $root ]]; then chown "root:$SERVICE" "$config"; fi
  fi
  install -D -m 0644 -- "$here/systemd/$SERVICE.service" "$unit"
}

check_configuration() {
  runuser -u "$SERVICE" -- "$venv/bin/vire-edge" check-config "$etc/config.toml" ||
    die "the configuration $etc/config.toml is not valid (reason above); nothing was started" \
      "correct it, then: sudo systemctl enable --now $SERVICE"
}

run_service() {
  if ! systemd_runs; then
    warn "systemd is not running here, so nothing was started; on the device: sudo systemctl enable --now $SERVICE"
    return
  fi
  systemctl daemon-reload
  if [[ -z $start ]]; then
    say "Not started; to start it now and at each boot: sudo systemctl enable --now $SERVICE"
    return
  fi
  systemctl --quiet enable "$SERVICE"
  # Returns once the daemon has reported that it is ready, or has failed. An upgrade needs the restart.
  if ! systemctl restart "$SERVICE"; then
    journalctl --unit "$SERVICE" --lines 15 --no-pager --output cat >&2 || true
    die "the service did not start (its last lines are above)" "see: sudo systemctl status $SERVICE; vire-edge doctor"
  fi
  say "Running; follow it with: journalctl -u $SERVICE -f"
}

if [[ -n $uninstall ]]; then
  remove
  exit
fi

python=$(find_python)
require_64_bit "$python"
packages=()
if [[ -z $root ]]; then
  need_python_packages "$python"
  apt_install "${packages[@]}"
  add_user
fi
place_program
place_configuration
if [[ -n $root ]]; then
  say "Placed under $root"
  exit
fi
check_configuration
run_service
say "Check camera, model and broker at any time with: sudo -u $SERVICE vire-edge doctor"
