#!/usr/bin/env bash
# The whole fault suite, one to three hours: kills, brokers, networks, disks, cameras and clocks that fail, broken
# files and commands, and a day's work. Prints the table of its results, and writes it to FILE as Markdown.
#
#   deploy/fault.sh FILE [PYTEST OPTION...]
#
# Run as root it fills and wears out a disk, too: it mounts a small one of its own.
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit
fi
if ((!$#)) || [[ $1 == -* ]]; then
  printf 'usage: deploy/fault.sh FILE [PYTEST OPTION...], such as: deploy/fault.sh build/faults.md -k broker\n' >&2
  exit 2
fi
table=$(realpath -m -- "$1")
shift
mkdir -p -- "$(dirname -- "$table")"
# With arguments deploy/test.sh sees to what the tests need and runs pytest.
exec bash "$here/deploy/test.sh" -m fault --fault-full --fault-table="$table" "$@"
