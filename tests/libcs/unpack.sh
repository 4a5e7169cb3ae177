#!/usr/bin/env bash
# Unpacks the libcs of Debian's other suites, from the mirror that this machine's apt already uses,
# into a cache outside the tree (printed as the only line of standard output):
#
#   bullseye/   glibc 2.31, its getent, and what compiles programs against it
#   trixie/     glibc 2.41 and musl 1.2.5
#
# Nothing is installed and apt's own state is not touched. What is there already is not fetched
# again; a download that fails is an error.
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s/libcs
mkdir -p "$cache"
echo "$cache"

# unpack SUITE PROOF PACKAGE...: PROOF is a file that only a finished directory has.
unpack() {
    local suite=$1 proof=$2 target=$cache/$1 work mirror apt package
    shift 2
    [[ -e $target/$proof ]] && return
    work=$(mktemp -d "$cache/.$suite.XXXXXX")
    # shellcheck disable=SC2064 # the directory of this call
    trap "rm -rf '$work'" RETURN EXIT
    mkdir -p "$work"/{lists/partial,cache/archives/partial,root}
    : >"$work/status"
    mirror=$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' |
        awk '$2 ~ /\/debian\/$/ { print $2; exit }')
    [[ -n $mirror ]] || { echo "apt on this machine knows no Debian mirror" >&2; exit 1; }
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
        >"$work/sources.list"
    apt=(apt-get -qq
        -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o "Dir::State::Status=$work/status"
        -o "Dir::Cache=$work/cache" -o APT::Sandbox::User=root
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::Languages=none)
    "${apt[@]}" update >&2
    (cd "$work" && "${apt[@]}" download "$@" >&2)
    for package in "$work"/*.deb; do
        dpkg -x "$package" "$work/root"
    done
    # Links to the root directory mean this one.
    find "$work/root" -type l -lname '/*' | while read -r link; do
        ln -sfnr "$work/root$(readlink "$link")" "$link"
    done
    [[ -e $work/root/$proof ]] || { echo "$suite: the packages hold no $proof" >&2; exit 1; }
    # Whoever was faster has made the same.
    mv -T "$work/root" "$target" 2>/dev/null || [[ -e $target/$proof ]]
}

machine=$(uname -m)
unpack bullseye "usr/lib/$machine-linux-gnu/libc.so" libc6 libc-bin libc6-dev linux-libc-dev
unpack trixie "usr/lib/$machine-linux-musl/libc.so" libc6 musl
