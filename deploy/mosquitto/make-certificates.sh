#!/usr/bin/env bash
# Make the certificates of a home: an authority of its own, the broker's, and one for each device or person.
#
#   make-certificates.sh FOLDER BROKER [LOGIN ...]
#   make-certificates.sh certs broker.home hall kitchen caregiver
#
# BROKER is what the devices set as mqtt.host, a name or an address. Run it again for a further LOGIN: what is there
# already stays as it is. To renew a certificate, remove it and run this again.
set -euo pipefail

# A home has nobody who renews; a lost device is shut out in the ACL instead.
readonly DAYS=3650

die() {
  printf 'error: %s\n' "$1" >&2
  exit 1
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
  exit
fi
(($# >= 2)) || die "give a folder, the broker's name and the logins: ${0##*/} certs broker.home hall caregiver"
command -v openssl >/dev/null || die 'openssl is missing: sudo apt-get install openssl'
folder=$1 broker=$2
shift 2
for name in "$broker" "$@"; do
  [[ $name =~ ^[A-Za-z0-9][A-Za-z0-9.:_-]{0,63}$ ]] || die "\"$name\" is no name: letters, digits, dots and dashes"
done
for login in "$@"; do
  [[ $login != ca && $login != server ]] || die "\"$login\" is the name of a file of its own here; take another login"
done

umask 077 # keys are nobody else's business
mkdir -p "$folder"
cd "$folder"

# Make a key and a certificate that the authority signs. NAME is the file's and, but for the broker, the login's.
sign() { # NAME COMMON_NAME EXTENSIONS
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "/CN=$2" |
    openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days "$DAYS" -sha256 \
      -extfile <(printf '%s\n' "basicConstraints=CA:FALSE" "keyUsage=digitalSignature" "$3") -out "$1.crt" 2>/dev/null ||
    die "openssl cannot sign $PWD/$1.crt; are ca.crt and ca.key there, and made together?"
  printf '%s\n' "$PWD/$1.crt"
}

if [[ ! -e ca.crt ]]; then
  openssl ecparam -name prime256v1 -genkey -noout -out ca.key
  openssl req -x509 -new -key ca.key -subj '/CN=VIRE Edge at home' -days "$DAYS" -sha256 -out ca.crt \
    -addext 'basicConstraints=critical,CA:TRUE' -addext 'keyUsage=critical,keyCertSign,cRLSign'
  printf '%s\n' "$PWD/ca.crt"
fi
if [[ ! -e server.crt ]]; then
  kind=DNS
  if [[ $broker =~ ^[0-9.]+$ || $broker == *:* ]]; then kind=IP; fi
  sign server "$broker" "$(printf '%s\n' "extendedKeyUsage=serverAuth" "subjectAltName=$kind:$broker")"
fi
for login in "$@"; do
  if [[ ! -e $login.crt ]]; then sign "$login" "$login" 'extendedKeyUsage=clientAuth'; fi
done
chmod 0644 ./*.crt # certificates are public
