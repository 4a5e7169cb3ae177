#!/usr/bin/env bash
# Unpacks Debian 11's glibc (2.31) and its getent into the directory given, from the Debian mirror
# that this machine's apt already uses. Nothing is installed; apt's own state is not touched.
# A second run finds the result and does nothing.
set -euo pipefail

target=$(realpath -m "${1:?usage: old-glibc.sh DIRECTORY}")
[[ -x $target/usr/bin/getent ]] && exit 0

work=$target.work.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{lists/partial,cache/archives/partial,root}
: >"$work/status"

mirror=$(apt-get indextargets --format '$(ORIGIN) $(SUITE) $(REPO_URI)' 'Created-By: Packages' |
    awk '$1 == "Debian" { print $NF; exit }')
mirror=${mirror:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/$' | head -n 1)}
[[ -n $mirror ]] || { echo "apt on this machine knows no Debian mirror" >&2; exit 1; }

echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror bullseye main" \
    >"$work/sources.list"
apt=(apt-get -qq
    -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::State::Status=$work/status"
    -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
    -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
    -o Acquire::Languages=none)
"${apt[@]}" update
(cd "$work" && "${apt[@]}" download libc6 libc-bin)
for package in "$work"/*.deb; do
    dpkg -x "$package" "$work/root"
done
# Whoever was faster has made the same.
mkdir -p "$(dirname "$target")"
mv -T "$work/root" "$target" 2>/dev/null || [[ -x $target/usr/bin/getent ]]
