#!/usr/bin/env bash
# Installs the Debian packages that the tests, the demo and the benches use, and only those missing.
# Nothing here starts a service or touches name resolution of the machine itself.
set -euo pipefail
declare -A wanted=(
    [musl-gcc]=musl-tools [unbound]=unbound [ip]=iproute2 [readelf]=binutils
    [gcc]=gcc [unshare]=util-linux [valgrind]=valgrind [openssl]=openssl [python3]=python3 [curl]=curl [strace]=strace
)
missing=()
for command in "${!wanted[@]}"; do
    PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null || missing+=("${wanted[$command]}")
done
# gcc alone brings no C library headers.
[[ -e /usr/include/stdio.h ]] || missing+=(libc6-dev)
((${#missing[@]})) || exit 0
echo "installing from Debian: ${missing[*]}"
if [[ $(id -u) != 0 ]]; then
    echo "not root: please install them yourself: apt-get install ${missing[*]}" >&2
    exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
