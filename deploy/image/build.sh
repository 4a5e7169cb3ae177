#!/usr/bin/env bash
# Makes the container image out of programs that are built already: an OCI image layout in a tar, without a
# container engine and without root. The same inputs give the same bytes, on any path and by any user.
# `make image` builds the programs first and calls this.
#
#   build.sh --agent FILE --explain FILE --libraries DIR --out FILE.tar
#            [--bill DIR]             third-party licenses and the bill of materials, as bill.sh leaves them
#            [--architecture amd64]   as Go names it
#            [--version V] [--name N] instead of Cargo.toml's version, and of nss-k8s
#            [--with-loader]          the agent is linked dynamically: take its loader and libraries along
#
# Prints NAME:VERSION, the manifest's digest and the archive's size. With a bill, OUT.sbom.tar beside it is a layout
# with one more manifest, a referrer that attaches the bill to the image in a registry. The archive is what `ctr images import`,
# `docker load`, `podman load` and `skopeo copy oci-archive:` read: it names the image in all their ways.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export LC_ALL=C

agent= explain= libraries= out= bill= loader=
architecture=amd64
name=nss-k8s
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
while (($#)); do
    case $1 in
        --with-loader) loader=yes; shift; continue ;;
        --agent | --explain | --libraries | --out | --bill | --architecture | --version | --name)
            printf -v "${1#--}" %s "${2:?$1 needs a value}"; shift 2 ;;
        *) echo "build.sh: unknown argument $1" >&2; exit 2 ;;
    esac
done
: "${agent:?--agent is missing}" "${explain:?--explain is missing}" "${libraries:?--libraries is missing}" "${out:?--out is missing}"

# The time that everything in the image bears: the last commit's (reproducible-builds.org/specs/source-date-epoch).
epoch=${SOURCE_DATE_EPOCH:-$(git -C "$root" log -1 --format=%ct)}
revision=$(git -C "$root" rev-parse HEAD)
[[ -z $(git -C "$root" status --porcelain --untracked-files=no) ]] || revision+=-modified
created=$(date -u -d "@$epoch" +%Y-%m-%dT%H:%M:%SZ)

mkdir -p "$(dirname "$out")"
work=$(mktemp -d "$(dirname "$out")/.image.XXXXXX")
trap 'rm -rf "$work"' EXIT

# The root file system: the agent, what it delivers into pods, roots of trust for upstreams that speak TLS.
fill_root() {
    local into=$1 library
    install -D -m 0755 "$agent" "$into/nss-k8s"
    for library in libnss_k8s.so.2 libnss_k8s_preload.so; do
        install -D -m 0755 "$libraries/$library" "$into/lib/nss-k8s/$library"
    done
    install -D -m 0755 "$explain" "$into/lib/nss-k8s/nss-k8s-explain"
    # Without this file glibc would ask DNS before it looks into /etc/hosts.
    install -D -m 0644 /dev/stdin "$into/etc/nsswitch.conf" <<<"hosts: files dns"
    mkdir -p "$into/etc/ssl/certs"
    "$here/certificates.sh" "$root/build/unpacked/ca-certificates" >"$into/etc/ssl/certs/ca-certificates.crt"
    install -D -m 0644 -t "$into/usr/share/doc/nss-k8s" "$root"/LICENSE-*
    if [[ -n $bill ]]; then
        install -D -m 0644 -t "$into/usr/share/doc/nss-k8s" "$bill"/*
    fi
    if [[ -n $loader ]]; then
        take_loader "$into"
    fi
}

# Development builds are not linked statically (that would build every crate a second time): the libraries
# that the agent names come along, at the paths where its loader looks for them.
take_loader() {
    local path
    for path in $(ldd "$agent" | grep -o '/[^ ]*'); do
        install -D -m 0755 "$path" "$1$path"
    done
}

# One order, owner, time and set of modes, whatever the file system and the umask say.
pack() {
    tar --create --directory "$1" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$epoch" \
        --mode='u=rwX,go=rX' --format=ustar "${@:2}"
}

# Moves a file to its place among the blobs and prints `"digest":...,"size":...`.
store() {
    local digest
    digest=$(sha256sum <"$1" | cut -d ' ' -f 1)
    printf '"digest":"sha256:%s","size":%d' "$digest" "$(stat -c %s "$1")"
    mv "$1" "$layout/blobs/sha256/$digest"
}

digest_of() { sed 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/' <<<"$1"; }

fill_root "$work/root"
layout=$work/layout
mkdir -p "$layout/blobs/sha256"
pack "$work/root" . >"$work/layer.tar"
# Not compressed, which the specification allows: the bytes of gzip are those of its release, not of the commit's.
layer=$(store "$work/layer.tar")

# The same words as labels, which kubectl and container engines show, and as annotations, which registries do.
about=$(printf '"org.opencontainers.image.%s":"%s",' \
    created "$created" \
    title "$name" \
    description "Kubernetes DNS inside the process that asks: the agent, the CSI driver, the libraries" \
    version "$version" \
    revision "$revision" \
    licenses "Apache-2.0 OR MIT")
about=${about%,}
printf '{"created":"%s","architecture":"%s","os":"linux","config":{"User":"0:0","Env":["PATH=/"],"Entrypoint":["/nss-k8s"],"Cmd":["help"],"WorkingDir":"/","Labels":{%s}},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]},"history":[{"created":"%s","created_by":"deploy/image/build.sh"}]}' \
    "$created" "$architecture" "$about" "$(digest_of "$layer")" "$created" >"$work/config"
config=$(store "$work/config")
kind=application/vnd.oci.image
printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":{"mediaType":"%s.config.v1+json",%s},"layers":[{"mediaType":"%s.layer.v1.tar",%s}],"annotations":{%s}}' \
    "$kind" "$kind" "$config" "$kind" "$layer" "$about" >"$work/manifest"
manifest=$(store "$work/manifest")

# The index names the image as the specification does (by its tag), and as containerd does (in full).
begin_layout() {
    printf '{"imageLayoutVersion":"1.0.0"}' >"$layout/oci-layout"
    printf '{"schemaVersion":2,"mediaType":"%s.index.v1+json","manifests":[%s]}' "$kind" "$1" >"$layout/index.json"
}
begin_layout "$(printf '{"mediaType":"%s.manifest.v1+json",%s,"platform":{"architecture":"%s","os":"linux"},"annotations":{"io.containerd.image.name":"docker.io/library/%s:%s","org.opencontainers.image.ref.name":"%s"}}' \
    "$kind" "$manifest" "$architecture" "$name" "$version" "$version")"
# Docker before version 25 knows only this form.
printf '[{"Config":"blobs/sha256/%s","RepoTags":["%s:%s"],"Layers":["blobs/sha256/%s"]}]' \
    "$(digest_of "$config")" "$name" "$version" "$(digest_of "$layer")" >"$layout/manifest.json"
pack "$layout" oci-layout index.json manifest.json blobs >"$work/archive.tar"
mv "$work/archive.tar" "$out"
printf '%s:%s sha256:%s %d bytes\n' "$name" "$version" "$(digest_of "$manifest")" "$(stat -c %s "$out")"

# A manifest without an image, whose subject is ours. It has an archive of its own: podman refuses one of two manifests.
[[ -n $bill ]] || exit 0
layout=$work/referrer
mkdir -p "$layout/blobs/sha256"
cp "$bill/nss-k8s.cdx.json" "$work/bill"
attached=$(store "$work/bill")
printf '{}' >"$work/empty"
empty=$(store "$work/empty")
sbom=application/vnd.cyclonedx+json
printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","artifactType":"%s","config":{"mediaType":"application/vnd.oci.empty.v1+json",%s},"layers":[{"mediaType":"%s",%s}],"subject":{"mediaType":"%s.manifest.v1+json",%s},"annotations":{"org.opencontainers.image.created":"%s"}}' \
    "$kind" "$sbom" "$empty" "$sbom" "$attached" "$kind" "$manifest" "$created" >"$work/referrer.json"
referrer=$(store "$work/referrer.json")
begin_layout "$(printf '{"mediaType":"%s.manifest.v1+json","artifactType":"%s",%s,"annotations":{"org.opencontainers.image.ref.name":"%s-sbom"}}' \
    "$kind" "$sbom" "$referrer" "$version")"
pack "$layout" oci-layout index.json blobs >"$work/archive.tar"
mv "$work/archive.tar" "${out%.tar}.sbom.tar"
cp "$bill/nss-k8s.cdx.json" "${out%.tar}.cdx.json"
