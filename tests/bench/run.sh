#!/usr/bin/env bash
# Speed of getaddrinfo + freeaddrinfo in one warm process: through the shim, through the NSS module,
# through an NSS module that returns a constant, and by libc alone with a DNS server and with /etc/hosts. All variants run in turn, ROUNDS times, on
# one core together with the DNS server, in a pod-like mount and network namespace; the table
# shows the median over the rounds of each run's median. The zone holds 10,000 services with 15
# endpoints each (SERVICES and ENDPOINTS change that).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export PATH=$PATH:/usr/sbin
rounds=${ROUNDS:-9} services=${SERVICES:-10000} endpoints=${ENDPOINTS:-15} core=${CORE:-0}
guests=${NSS_K8S_GUESTS:-$top/build/guests}
. "$here/keep.sh"

[[ $(id -u) == 0 ]] || { echo "the benches need root: they run in mount and network namespaces of their own" >&2; exit 1; }
if [[ ${1:-} != --in-pod ]]; then
    cargo build --locked --quiet --release --manifest-path "$top/Cargo.toml" -p nss-k8s-tests --bin bench-zone --bin bench-zone-figures
    export PROGRAMS=${CARGO_TARGET_DIR:-$top/target}/release
    exec unshare --mount --net --propagation private -- "$0" --in-pod
fi

work=$(mktemp -d /dev/shm/nss-k8s-bench.XXXXXX)
server=''
clean_up() { [[ $server ]] && kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$work"; }
trap clean_up EXIT
trap 'exit 130' INT TERM

# -- a pod: addresses, kubelet's files, the zone, a DNS server that holds the same names -----------
ip link set lo up
ip address add 10.244.0.7/32 dev lo
ip -6 address add fd00:10:244::7/128 dev lo nodad
ip route add default dev lo src 10.244.0.7
ip -6 route add default dev lo src fd00:10:244::7
ip address add 10.96.0.10/32 dev lo
printf 'search prod.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n' >"$work/resolv.conf"
cat >"$work/hosts" <<'HOSTS'
# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
10.244.0.7	bench
HOSTS
cp "$work/hosts" "$work/hosts.full"
printf 'hosts: files dns\n' >"$work/nsswitch.dns"
printf 'hosts: files k8s dns\n' >"$work/nsswitch.k8s"
mkdir "$work/node"
# Prints one line per name and address of the names that are measured: NAME ADDRESS.
"$PROGRAMS/bench-zone" "$work/node" "$services" "$endpoints" >"$work/names"
# Where every pod has it: the path that the libraries look at without being told.
mount -t tmpfs -o mode=0755,size=1m bench-run /run
mkdir /run/nss-k8s
mount --bind "$work/node/view/default" /run/nss-k8s
awk '{ split($1, label, "."); print $2 "\t" label[1] }' "$work/names" >>"$work/hosts.full"
{
    printf 'server:\n  interface: 10.96.0.10\n  access-control: 0.0.0.0/0 allow\n  chroot: ""\n  username: ""\n'
    printf '  directory: "%s"\n  pidfile: "%s/unbound.pid"\n  use-syslog: no\n  logfile: "%s/unbound.log"\n' "$work" "$work" "$work"
    printf '  module-config: "iterator"\n  local-zone: "cluster.local." static\n  local-zone: "example.com." static\n'
    awk '{ print "  local-data: \"" $1 ". 30 IN " ($2 ~ /:/ ? "AAAA " : "A ") $2 "\"" }' "$work/names"
    printf '  local-data: "www.example.com. 30 IN A 192.0.2.80"\n'
} >"$work/unbound.conf"
taskset -c "$core" unbound -d -c "$work/unbound.conf" >/dev/null 2>&1 &
server=$!
# Beside ours, so that every variant of NSS runs with the same environment.
cp "$guests/libnss_k8s.so.2" "$work/"
printf 'hosts: files constant dns\n' >"$work/nsswitch.constant"
gcc -O2 -o "$work/lookup-glibc" "$here/lookup.c"
printf 'hosts: files timed dns\n' >"$work/nsswitch.timed"
gcc -O2 -shared -fPIC -o "$work/libnss_constant.so.2" "$here/constant.c"
gcc -O2 -shared -fPIC -o "$work/libnss_timed.so.2" "$here/timed.c" -ldl
musl-gcc -O2 -o "$work/lookup-musl" "$here/lookup.c"

# one LIBC VARIANT NAME FAMILY CALLS BATCH -> the run's line
one() {
    local libc=$1 variant=$2 hosts=$work/hosts nsswitch=$work/nsswitch.dns preload='' library=''
    case $variant in
        hosts) hosts=$work/hosts.full ;;
        nss) nsswitch=$work/nsswitch.k8s library=$work ;;
        constant | timed) nsswitch=$work/nsswitch.$variant library=$work ;;
        shim) preload=$guests/libnss_k8s_preload.so ;;
    esac
    unshare --mount --propagation private -- bash -c '
        mount --bind "$1" /etc/resolv.conf && mount --bind "$2" /etc/hosts && mount --bind "$3" /etc/nsswitch.conf
        export LD_PRELOAD=$4 LD_LIBRARY_PATH=$5
        exec ${RUNNER:-taskset -c '"$core"'} "${@:6}"' one "$work/resolv.conf" "$hosts" "$nsswitch" "$preload" "$library" \
        "$work/lookup-$libc" "${@:3}"
}
median() { sort -g | awk '{ value[NR] = $1 } END { print NR % 2 ? value[(NR + 1) / 2] : (value[NR / 2] + value[NR / 2 + 1]) / 2 }'; }

for _ in $(seq 100); do one glibc dns api unspec 1 1 >/dev/null 2>&1 && break; sleep 0.05; done

cases=("api unspec" "api inet" "api.prod unspec" "dual unspec" "trio unspec" "db unspec" "www.example.com unspec")
variants=("glibc dns" "glibc hosts" "glibc constant" "glibc nss" "glibc shim" "musl dns" "musl hosts" "musl shim")
for round in $(seq "$rounds"); do
    for case in "${cases[@]}"; do
        for variant in "${variants[@]}"; do
            [[ $case == *.* && $variant == *hosts ]] && continue
            [[ $case != "api "* && $variant == *constant ]] && continue
            calls=2000 batch=10
            [[ $case == "api "* && $variant =~ constant|nss ]] && calls=20000 batch=100
            [[ $variant == *shim && $case != www* ]] && calls=200000 batch=200
            # shellcheck disable=SC2086
            line=$(one $variant $case $calls $batch) || { echo "failed: $variant, $case: $line" >&2; exit 1; }
            # shellcheck disable=SC2086
            set -- $line
            [[ $1 == addresses && $3 == p50 ]] || { echo "unexpected: $variant, $case: $line" >&2; exit 1; }
            echo "$4" >>"$work/result.$variant.$case"
            echo "$2" >"$work/count.$case"
        done
    done
    echo "round $round of $rounds done" >&2
done

# The two modules behind one that passes calls on and times them: to glibc both runs are the same, down
# to nsswitch.conf and the layout of its heap, which by itself moves a whole call by tens of nanoseconds.
export TIMED_FILE TIMED_NAME
for round in $(seq "$rounds"); do
    for case in "api unspec" "api inet"; do
        for TIMED_NAME in k8s constant; do
            TIMED_FILE=$work/libnss_constant.so.2
            [[ $TIMED_NAME == k8s ]] && TIMED_FILE=$guests/libnss_k8s.so.2
            # shellcheck disable=SC2086
            line=$(one glibc timed $case 20000 100 2>&1 | sort -r | tr '\n' ' ')
            # shellcheck disable=SC2086
            set -- $line
            [[ $1 == inside && $7 == p50 ]] || { echo "failed: timed $TIMED_NAME, $case: $line" >&2; exit 1; }
            echo "$2" >>"$work/result.inside $TIMED_NAME.$case"
            echo "$8" >>"$work/result.around $TIMED_NAME.$case"
        done
    done
done

value() { [[ -e "$work/result.$1.$2" ]] && median <"$work/result.$1.$2" || echo -; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (a == "-" || b == "-") print "-"; else printf "%.1f", a / b }'; }
echo
echo "ns per getaddrinfo + freeaddrinfo, SOCK_STREAM, median of $rounds interleaved rounds; zone: $services services x $endpoints endpoints; $(uname -m), kernel $(uname -r | cut -d- -f1)"
echo
{
    echo "| name | family | addresses | libc | DNS server | /etc/hosts | NSS module | shim | DNS / shim | hosts / shim | DNS / NSS |"
    echo "|---|---|---|---|---|---|---|---|---|---|---|"
    for case in "${cases[@]}"; do
        for libc in glibc musl; do
            dns=$(value "$libc dns" "$case") hosts=$(value "$libc hosts" "$case") shim=$(value "$libc shim" "$case") nss=$(value "$libc nss" "$case")
            echo "| ${case/ / | } | $(<"$work/count.$case") | $libc | $dns | $hosts | $nss | $shim | $(ratio "$dns" "$shim") | $(ratio "$hosts" "$shim") | $(ratio "$dns" "$nss") |"
        done
    done
} | keep getaddrinfo
echo
for case in "api unspec" "api inet"; do
    awk -v label="${case/ /, }" -v ours="$(value "glibc nss" "$case")" -v floor="$(value "glibc constant" "$case")" \
        -v inside="$(value "inside k8s" "$case")" -v least="$(value "inside constant" "$case")" \
        -v around="$(value "around k8s" "$case")" -v bare="$(value "around constant" "$case")" 'BEGIN {
            printf "%s: the NSS module takes %d ns more than one that returns a constant (%d and %d)", label, inside - least, inside, least
            printf "; whole calls through the same forwarder %d more (%d and %d)", around - bare, around, bare
            printf "; whole calls with either as a module %d more (%d and %d)\n", ours - floor, ours, floor }'
done

if command -v valgrind >/dev/null; then
    instructions() {
        RUNNER="valgrind --tool=callgrind --callgrind-out-file=/dev/null" one "$1" "$2" "$3" "$4" "$5" "$5" 2>&1 >/dev/null |
            sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
    }
    echo
    echo "instructions per call in user space (callgrind, 2,200 calls less 200; a repeated string instruction counts once per byte or word):"
    for variant in "glibc shim" "musl shim" "glibc nss" "glibc constant" "glibc hosts"; do
        for case in "api unspec" "trio unspec" "db unspec"; do
            [[ $case != "api "* && $variant == *constant ]] && continue
            # shellcheck disable=SC2086
            few=$(instructions $variant $case 100) many=$(instructions $variant $case 1100)
            echo "- ${case/ /, }: ${variant}: $(((many - few) / 2000))"
        done
    done
fi

echo
echo "the zone by itself, of one thread's CPU time:"
taskset -c "$core" "$PROGRAMS/bench-zone-figures" 10000 100000 | keep_csv zone
