#!/usr/bin/env bash
# The main job on a laptop: an agent publishes the names of deploy/demo/*.yaml, and unmodified
# programs resolve them inside their own process.
#
# As root everything happens in a mount and network namespace that looks like a pod: kubelet's
# resolv.conf, and no DNS server reachable at all. Without root the programs run as they are, with
# LD_PRELOAD and LD_LIBRARY_PATH. Nothing outlives this script.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
agent=${NSS_K8S_AGENT:-$top/target/debug/nss-k8s}
guests=${NSS_K8S_GUESTS:-$top/build/guests}
preload=$guests/libnss_k8s_preload.so

bold=$'\e[1m' plain=$'\e[0m'
[[ -t 1 ]] || bold='' plain=''
say() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
# show WRAPPER COMMAND ..: prints the command as a person would type it, runs it by way of WRAPPER.
show() {
    local wrapper=$1
    shift
    printf '  $ %s\n' "${*/#$agent/nss-k8s}"
    "$wrapper" "$@" 2>&1 | sed 's/^/    /' || { echo "    (failed; with NSS_K8S_DEBUG=1:)"; NSS_K8S_DEBUG=1 "$wrapper" "$@" 2>&1 | sed 's/^/    /'; exit 1; }
}
plainly() { "$@"; }
# `query` ends with 1 when the answer is not ours to give.
explaining() { "$@" || true; }

for file in "$agent" "$preload" "$guests/libnss_k8s.so.2"; do
    [[ -e $file ]] || { echo "missing: $file (run it through: make demo)" >&2; exit 1; }
done

if [[ $(id -u) == 0 && ${1:-} != --in-pod ]]; then
    echo "needs: this repository's build, python3, curl, unbound and gcc from Debian; root for the pod-like namespaces (yes)."
    exec unshare --mount --net --propagation private -- "$0" --in-pod
fi
pod=${1:+yes}
[[ $pod ]] || echo "needs: this repository's build, python3, curl and gcc; not root: no pod-like namespaces, names are given in full."

# -- the scene ---------------------------------------------------------------------------------
work=$(mktemp -d /dev/shm/nss-k8s-demo.XXXXXX)
children=()
clean_up() {
    ((${#children[@]})) && kill "${children[@]}" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
mkdir "$work/manifests" "$work/node"
cp "$here"/*.yaml "$work/manifests/"

domain=''
options=()
if [[ $pod ]]; then
    ip link set lo up
    ip address add 10.244.0.7/32 dev lo
    # The cluster DNS server's address, with nobody listening: whoever asks is refused at once.
    ip address add 10.96.0.10/32 dev lo
    ip route add default dev lo src 10.244.0.7
    ip -6 address add fd00:10:244::7/128 dev lo nodad 2>/dev/null &&
        ip -6 route add default dev lo src fd00:10:244::7 || true
    printf 'search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n' >"$work/resolv.conf"
    printf '127.0.0.1\tlocalhost\n::1\tlocalhost\n10.244.0.7\tdemo\n' >"$work/hosts"
    printf 'hosts: files k8s dns\n' >"$work/nsswitch.conf"
    mount --bind "$work/resolv.conf" /etc/resolv.conf
    mount --bind "$work/hosts" /etc/hosts
else
    domain=.shop.svc.cluster.local
    options=(--accept-any-nameserver)
fi
export NSS_K8S_DIR=$work/node/view/default

say "1. the agent publishes $(ls "$work/manifests" | wc -l) manifests in shared memory"
port=$((20000 + RANDOM % 20000))
"$agent" agent --dir "$work/node" --manifests "$work/manifests" --listen "127.0.0.1:$port" \
    ${options[@]+"${options[@]}"} >"$work/agent.log" 2>&1 &
children+=($!)
ready=''
for _ in $(seq 200); do
    if curl -fs --noproxy '*' "http://127.0.0.1:$port/readyz" >/dev/null 2>&1; then ready=yes; break; fi
    kill -0 "${children[0]}" 2>/dev/null || break
    sleep 0.05
done
[[ $ready ]] || { echo "the agent did not become ready:" >&2; cat "$work/agent.log" >&2; exit 1; }
show plainly "$agent" status --dir "$work/node"

# -- unmodified programs -----------------------------------------------------------------------
preloaded() { LD_PRELOAD=$preload "$@"; }
say "2. unmodified programs, by LD_PRELOAD${pod:+ (no DNS server can be reached from here)}"
show preloaded getent ahosts "api$domain"
show preloaded getent ahosts "db-1.db$domain"
show preloaded python3 -c "import socket; print(sorted({a[4][0] for a in socket.getaddrinfo('db$domain', 5432)}))"
if [[ $pod ]]; then
    # The shop's front end itself, on its cluster IP.
    address=$(preloaded getent ahostsv4 web | awk 'NR == 1 { print $1 }')
    ip address add "$address/32" dev lo
    mkdir "$work/www" && echo "hello from the shop at $address" >"$work/www/index.html"
    (cd "$work/www" && exec python3 -m http.server --bind "$address" 80 >/dev/null 2>&1) &
    children+=($!)
    for _ in $(seq 100); do (exec 3<>"/dev/tcp/$address/80") 2>/dev/null && break; sleep 0.05; done
    show preloaded curl -sS --noproxy '*' http://web/
else
    printf '  $ %s\n' "curl http://web$domain/ (the address is the point, nobody listens there)"
    preloaded curl -sv --noproxy '*' --connect-timeout 1 "http://web$domain/" 2>&1 | grep -m1 Trying | sed 's/^/    /' || true
fi

say "3. the same through glibc's NSS"
if [[ $pod ]]; then
    nss() { unshare --mount --propagation private -- bash -c 'mount --bind "$0" /etc/nsswitch.conf && LD_LIBRARY_PATH="$1" exec "${@:2}"' \
        "$work/nsswitch.conf" "$guests" "$@"; }
    [[ -e /etc/nsswitch.conf ]] || { echo "no /etc/nsswitch.conf on this machine" >&2; exit 1; }
    show nss getent ahosts api
    show nss python3 -c "import socket; print(socket.gethostbyname('web'))"
else
    show plainly env LD_LIBRARY_PATH="$guests" getent -s hosts:k8s ahosts "api$domain"
fi

say "4. why: every candidate of the search list, and who answers it"
show explaining "$agent" query api --namespace shop --explain --dir "$work/node"
show explaining "$agent" query google.com --namespace shop --explain --dir "$work/node"

# -- a change ----------------------------------------------------------------------------------
say "5. a manifest is edited; a process that was already running sees it at its next lookup"
LD_PRELOAD=$preload python3 - "api$domain" "$work/manifests" <<'PYTHON' | sed 's/^/    /'
import pathlib, re, socket, sys, time
name, manifests = sys.argv[1], pathlib.Path(sys.argv[2])
def address(): return socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)[0][4][0]
before = address()
for path in manifests.glob("*.yaml"):
    text = path.read_text()
    if before in text:
        break
else:
    sys.exit(f"{before} stands in no manifest")
after = re.sub(r"\d+$", lambda last: str(int(last[0]) % 250 + 1), before)
new = path.with_suffix(".new")
new.write_text(re.sub(rf"{re.escape(before)}\b", after, text))
start = time.monotonic()
new.rename(path)
while (now := address()) != after:
    if time.monotonic() - start > 10:
        sys.exit(f"still {now} after 10 s")
print(f"{name}: {before} -> {now}, {1000 * (time.monotonic() - start):.1f} ms after the file was written")
PYTHON

# -- timing ------------------------------------------------------------------------------------
say "6. time of one getaddrinfo (SOCK_STREAM, one address), median"
cc -O2 -o "$work/lookup" "$top/tests/bench/lookup.c"
median() { sed -n 's/.* p50 \([0-9.]*\) .*/\1/p'; }
ours=$(LD_PRELOAD=$preload "$work/lookup" "api$domain" unspec 20000 100 | median)
printf '    %-48s %9.0f ns\n' "with us, in the process's own memory" "$ours"
if [[ $pod ]]; then
    now=$(preloaded getent ahostsv4 api | awk 'NR == 1 { print $1 }')
    cat >"$work/unbound.conf" <<UNBOUND
server:
  interface: 10.96.0.10
  access-control: 0.0.0.0/0 allow
  chroot: "" 
  username: ""
  directory: "$work"
  pidfile: "$work/unbound.pid"
  use-syslog: no
  logfile: "$work/unbound.log"
  module-config: "iterator"
  local-zone: "cluster.local." static
  local-data: "api.shop.svc.cluster.local. 5 IN A $now"
UNBOUND
    PATH=$PATH:/usr/sbin unbound -d -c "$work/unbound.conf" >/dev/null 2>&1 &
    children+=($!)
    libc=''
    for _ in $(seq 100); do
        libc=$(env -u LD_PRELOAD "$work/lookup" api unspec 2000 10 | median) && [[ $libc ]] && break
        sleep 0.05
    done
    printf '    %-48s %9.0f ns   (%.0f times)\n' "libc alone, asking a DNS server on this machine" "$libc" \
        "$(awk -v a="$libc" -v b="$ours" 'BEGIN { print a / b }')"
    echo "    (the server is one hop of loopback away and never loses a packet: a real cluster's is slower)"
else
    echo "    (libc alone is left out: it would ask this machine's own DNS server; run as root to see it)"
fi
say "done; everything is cleaned up"
