#!/usr/bin/env bash
# Says what the image is made of, for scanners and for lawyers, into a directory:
#
#   nss-k8s.cdx.json          a CycloneDX bill of materials: each program with its crates, what of Debian is linked
#                             into them, and the package of the roots of trust
#   THIRD-PARTY-LICENSES.txt  the license texts of the crates
#   COPYRIGHT.*               those of Debian's packages, and of Rust's standard library
#
#   bill.sh DIR [TARGET]      TARGET: the triple that the programs are built for; default: this machine's
#
# cargo-cyclonedx and cargo-about read Cargo.lock's resolved tree; they are installed beside cargo-deny, outside the
# tree, at the first call (some minutes). The same commit and packages give the same bytes: no time but the commit's, no random number, no
# path of this machine.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=${1:?usage: bill.sh DIR [TARGET]}
target=${2:-$(rustc -vV | sed -n 's/^host: //p')}
tools=${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s/tools
export LC_ALL=C SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
command -v jq >/dev/null || { echo "bill.sh: needs jq (make prepare)" >&2; exit 1; }

# tool NAME VERSION [FEATURES]: leaves the cargo subcommand in $tools.
tool() {
    [[ -x $tools/bin/$1 ]] && return
    echo "installing $1 $2" >&2
    env -u CARGO_TARGET_DIR cargo install --quiet --locked --root "$tools" "$1@$2" ${3:+--features "$3"}
}
tool cargo-cyclonedx 0.5.9
tool cargo-about 0.9.3 cli

rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The tool writes beside each Cargo.toml: it gets a copy of the tree.
(cd "$root" && git ls-files -z | xargs -0 cp --parents -t "$work")
(cd "$work" && "$tools/bin/cargo-cyclonedx" cyclonedx --quiet --format json --describe binaries --no-build-deps \
    --spec-version 1.5 --target "$target")

# package NAME: a component for one of Debian's packages, as it is installed here.
package() {
    local version=${2:-$(dpkg-query --show --showformat '${Version}' "$1")}
    printf '{"type":"library","bom-ref":"deb:%s","name":"%s","version":"%s","purl":"pkg:deb/debian/%s@%s"}\n' \
        "$1" "$1" "$version" "$1" "${version//+/%2B}"
}
"$here/certificates.sh" "$root/build/unpacked/ca-certificates" >/dev/null
cp "$root/build/unpacked/ca-certificates/usr/share/doc/ca-certificates/copyright" "$out/COPYRIGHT.ca-certificates"
roots=$(<"$root/build/unpacked/ca-certificates/version")
# Of the packages that hold what is linked statically: libc.a and the unwinder.
linked=()
compiler=gcc
[[ $target == "$(uname -m)"-* ]] || compiler=${target/-unknown/}-gcc
for library in libc.a libgcc_eh.a; do
    found=$(dpkg-query --search "$(realpath "$("$compiler" --print-file-name="$library")")" | cut -d : -f 1)
    linked+=("$(package "$found")")
    cp "/usr/share/doc/$found/copyright" "$out/COPYRIGHT.$found"
done
rust=$(rustc -V | cut -d ' ' -f 2)
linked+=("$(printf '{"type":"library","bom-ref":"rust-std","name":"rust-std","version":"%s","licenses":[{"expression":"MIT OR Apache-2.0"}],"purl":"pkg:github/rust-lang/rust@%s"}' "$rust" "$rust")")
cp "$(rustc --print sysroot)/share/doc/rust/COPYRIGHT-library.html" "$out/COPYRIGHT.rust-std.html"

# One bill out of one for each program. References into this machine's folders become ones into the tree.
jq --slurp --compact-output --arg place "$work" --arg roots "$(package ca-certificates "$roots")" \
    --slurpfile linked <(printf '%s\n' "${linked[@]}") \
    --arg version "$(jq -r .metadata.component.version "$work/agent/nss-k8s_bin.cdx.json")" --arg target "$target" '
    ($roots | fromjson) as $roots
    | map(.metadata.component) as $programs
    | {
        bomFormat: "CycloneDX", specVersion: "1.5", version: 1,
        metadata: {
            timestamp: .[0].metadata.timestamp,
            tools: .[0].metadata.tools,
            component: {type: "container", "bom-ref": "image", name: "nss-k8s", version: $version},
            properties: [{name: "cdx:rustc:sbom:target:triple", value: $target}]
        },
        components: (($programs + [.[].components[]] | unique_by(."bom-ref")) + $linked + [$roots]),
        dependencies: (
            [{ref: "image", dependsOn: ([$programs[]."bom-ref"] + [$roots."bom-ref"])}]
            + ([.[].dependencies[]] | group_by(.ref)
                | map({ref: .[0].ref, dependsOn: ([.[].dependsOn // [] | .[]] | unique)})
                # The two programs hold them; the two libraries hold nothing of the kind.
                | map(if .ref | test("#nss-k8s-(agent|explain)@") then .dependsOn += [$linked[]."bom-ref"] else . end))
        )
    }
    | walk(if type == "string" then gsub("file://" + $place; "file:///nss-k8s") | sub("[?]download_url=file:.*$"; "") else . end)
    ' "$work"/{agent/nss-k8s_bin,explain/nss-k8s-explain_bin,nss-module/nss_k8s_cdylib,shim/nss_k8s_preload_cdylib}.cdx.json \
    >"$out/nss-k8s.cdx.json"

# The libraries' and explain's crates are among the agent's.
(cd "$root" && "$tools/bin/cargo-about" about generate "$here/about.hbs" --offline --locked --fail \
    --config "$here/about.toml" --manifest-path agent/Cargo.toml --target "$target" --output-file "$out/THIRD-PARTY-LICENSES.txt")
