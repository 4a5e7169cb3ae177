# Sourced by external.sh and servers.sh: a pod-like mount and network namespace with an authoritative server, the real
# CoreDNS in front of it with its cache, and an agent in front of CoreDNS. Start them with `start_servers`.
#
#   10.0.0.53        unbound, authoritative for example.com (every name below it has an A record, TTL 300)
#   10.96.0.10       CoreDNS: `cache`, and `forward` to unbound; every name of cluster.local is NXDOMAIN
#   169.254.20.10    the agent's listener; its forwarder asks CoreDNS, as it does in a cluster
#
# $upstream_core runs unbound, $server_core CoreDNS and the agent, $client_core whoever asks.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../.." && pwd)
export PATH=$PATH:/usr/sbin
guests=${NSS_K8S_GUESTS:-$top/build/guests}
. "$here/keep.sh"
server_core=${SERVER_CORE:-0} client_core=${CLIENT_CORE:-1} upstream_core=${UPSTREAM_CORE:-1}

[[ $(id -u) == 0 ]] || { echo "the benches need root: they run in mount and network namespaces of their own" >&2; exit 1; }
if [[ ${1:-} != --in-pod ]]; then
    cargo build --locked --quiet --release --manifest-path "$top/Cargo.toml" -p nss-k8s-agent
    export BENCH_AGENT=${CARGO_TARGET_DIR:-$top/target}/release/nss-k8s
    BENCH_COREDNS=$("$top/tests/cluster/build.sh" "${NSS_K8S_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s}" coredns)/coredns
    export BENCH_COREDNS
    exec unshare --mount --net --propagation private -- "$0" --in-pod
fi

work=$(mktemp -d /dev/shm/nss-k8s-bench.XXXXXX)
children=()
clean_up() {
    local status=$?
    ((status)) && tail -n 20 "$work"/*.log >&2
    ((${#children[@]})) && kill "${children[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

median() { sort -g | awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }

# spawn NAME CORE COMMAND..: in the background on one core, its output in NAME.log, its process id in $pid.
spawn() {
    taskset -c "$2" "${@:3}" >"$work/$1.log" 2>&1 &
    pid=$!
    children+=("$pid")
}

# start_servers: leaves the ids of the processes in $coredns and $agent.
start_servers() {
    ip link set lo up
    local address
    for address in 10.244.0.7 10.0.0.53 10.96.0.10 169.254.20.10; do
        ip address add "$address/32" dev lo
    done
    ip route add default dev lo src 10.244.0.7
    printf 'search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n' >"$work/resolv.conf"
    printf '127.0.0.1\tlocalhost\n10.244.0.7\tbench\n' >"$work/hosts"
    printf 'hosts: files dns\n' >"$work/nsswitch.conf"
    mount --bind "$work/resolv.conf" /etc/resolv.conf
    mount --bind "$work/hosts" /etc/hosts
    mount --bind "$work/nsswitch.conf" /etc/nsswitch.conf

    cat >"$work/unbound.conf" <<UNBOUND
server:
  interface: 10.0.0.53
  access-control: 0.0.0.0/0 allow
  chroot: ""
  username: ""
  directory: "$work"
  pidfile: "$work/unbound.pid"
  use-syslog: no
  module-config: "iterator"
  incoming-num-tcp: 1000
  local-zone: "example.com." redirect
  local-data: "example.com. 300 IN A 192.0.2.80"
  local-data: "example.com. 300 IN SOA ns.example.com. admin.example.com. 1 3600 600 86400 300"
UNBOUND
    spawn unbound "$upstream_core" unbound -d -c "$work/unbound.conf"
    cat >"$work/Corefile" <<'COREFILE'
. {
    bind 10.96.0.10
    template ANY ANY cluster.local {
        rcode NXDOMAIN
        authority "cluster.local. 30 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. 1 7200 1800 86400 30"
    }
    cache 300
    forward . 10.0.0.53
}
COREFILE
    spawn coredns "$server_core" "$BENCH_COREDNS" -conf "$work/Corefile"
    coredns=$pid
    mkdir "$work/manifests"
    cp "$top"/deploy/demo/*.yaml "$work/manifests/"
}

# start_agent pod|node: with that class for every pod, and its listener on 169.254.20.10; $agent is its process id.
start_agent() {
    cat >"$work/agent.yaml" <<CONFIG
classes:
  - name: default
    external: $1
forward:
  groups:
    - zones: ["."]
      upstreams:
        - address: 10.96.0.10
listen:
  addresses: [169.254.20.10]
CONFIG
    rm -rf "$work/node"
    mkdir "$work/node"
    spawn agent "$server_core" "$BENCH_AGENT" agent --dir "$work/node" --manifests "$work/manifests" --config "$work/agent.yaml" --listen 127.0.0.1:9353
    agent=$pid
    local turn
    for turn in $(seq 200); do
        "$BENCH_AGENT" status --dir "$work/node" >/dev/null 2>&1 && return
        sleep 0.05
    done
    echo "the agent published no zone" >&2
    return 1
}

stop_agent() {
    kill "$agent"
    wait "$agent" 2>/dev/null || true
}

# ticks PID: clock ticks of CPU time that a process has had.
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
# resident PID: its resident memory in MB.
resident() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/$1/status"; }
