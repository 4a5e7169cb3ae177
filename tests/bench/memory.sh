#!/usr/bin/env bash
# What the agent holds for a large cluster: the image's own program (`make agent-static`) on manifests of SERVICES (10000)
# services with ENDPOINTS (15) endpoints each, every tenth of them headless; with the slices of headless services alone, which is the default,
# and with all. Reading manifests at the start takes more than reading the API server's pages does: the peak is an upper bound.
#
#   memory.sh [AGENT]     as root: it has a network namespace of its own
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
agent=$(realpath "${1:-$top/build/nss-k8s}")
services=${SERVICES:-10000} endpoints=${ENDPOINTS:-15}
if [[ ${IN_NAMESPACE:-} != yes ]]; then
    IN_NAMESPACE=yes exec unshare --net -- "${BASH_SOURCE[0]}" "$agent"
fi
ip link set lo up
work=$(mktemp -d /dev/shm/nss-k8s-memory.XXXXXX)
pid=
trap '[[ -z $pid ]] || kill "$pid" 2>/dev/null; wait; rm -rf "$work"' EXIT

mkdir "$work/manifests"
awk -v services="$services" -v endpoints="$endpoints" 'BEGIN {
    for (s = 0; s < services; s++) {
        at = sprintf("{\"name\":\"service-%d\",\"namespace\":\"namespace-%d\"}", s, s % 100)
        ip = s % 10 ? sprintf("10.%d.%d.%d", 96 + int(s / 65536), int(s / 256) % 256, s % 256) : "None"
        printf "---\n{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":%s,\"spec\":{\"clusterIP\":\"%s\",\"clusterIPs\":[\"%s\"],\"ports\":[{\"name\":\"http\",\"port\":80}]}}\n", at, ip, ip
        labels = sprintf("{\"kubernetes.io/service-name\":\"service-%d\"%s}", s, s % 10 ? "" : ",\"service.kubernetes.io/headless\":\"\"")
        printf "---\n{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"service-%d-a\",\"namespace\":\"namespace-%d\",\"labels\":%s},\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":8080}],\"endpoints\":[", s, s % 100, labels
        for (e = 0; e < endpoints; e++) {
            n = s * endpoints + e
            printf "%s{\"addresses\":[\"10.%d.%d.%d\"],\"conditions\":{\"ready\":true},\"targetRef\":{\"kind\":\"Pod\",\"name\":\"pod-%d\",\"namespace\":\"namespace-%d\"}}", e ? "," : "", 128 + int(n / 65536), int(n / 256) % 256, n % 256, n, s % 100
        }
        print "]}"
    }
}' >"$work/manifests/all.yaml"

echo "$services services x $endpoints endpoints, every tenth headless; $(stat -c %s "$agent") bytes of agent; MB"
echo
echo "| endpoint slices | zone, in use | allocated | agent, its own memory | with the zone's pages | peak, at the start |"
echo "|---|---|---|---|---|---|"
for slices in headless all; do
    rm -rf "$work/run" && mkdir "$work/run"
    printf 'kubernetes: {endpoint_slices: %s}\n' "$slices" >"$work/config.yaml"
    "$agent" agent --dir "$work/run" --manifests "$work/manifests" --config "$work/config.yaml" >"$work/log" 2>&1 &
    pid=$!
    deadline=$((SECONDS + 120))
    published=$services
    [[ $slices == all ]] || published=$(((services + 9) / 10))
    # Ready, and its figures are those of the whole zone.
    until curl --silent --fail http://127.0.0.1:9353/readyz >/dev/null &&
        curl --silent http://127.0.0.1:9353/metrics >"$work/metrics" &&
        grep -qx "nss_k8s_zone_records{of=\"services\"} $services" "$work/metrics" &&
        grep -qx "nss_k8s_zone_records{of=\"slices\"} $published" "$work/metrics"; do
        kill -0 "$pid" && ((SECONDS < deadline)) || { tail -n 20 "$work/log" >&2; exit 1; }
        sleep 0.2
    done
    size() { awk -v of="of=\"$1\"" '/^nss_k8s_zone_size_bytes/ && index($0, of) { printf "%.1f", $2 / 1e6 }' "$work/metrics"; }
    status() { awk -v key="$1:" '$1 == key { printf "%.1f", $2 * 1024 / 1e6 }' "/proc/$pid/status"; }
    echo "| $slices | $(size used) | $(size file) | $(status RssAnon) | $(status VmRSS) | $(status VmHWM) |"
    kill "$pid" && wait "$pid" || true
    pid=
done
