#!/usr/bin/env bash
# External names from 1, 10 and 100 processes: libc by itself with CoreDNS over UDP, and through the preload library in
# both classes. "cold" names were never asked for, "warm" are the same 100 names. The variants take turns, ROUNDS times
# (5), SECONDS_EACH (2) each; the table shows medians. CoreDNS and the agent share one core, the processes have the other.
. "$(dirname "${BASH_SOURCE[0]}")/scene.sh"
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-2}
start_servers
mount -t tmpfs -o mode=0755,size=1m bench-run /run
mkdir /run/nss-k8s
gcc -O2 -o "$work/external" "$here/external.c"
turn=0
# one VARIANT PROCESSES warm|cold
one() {
    local preload='' prefix=warm
    [[ $1 == libc ]] || preload=$guests/libnss_k8s_preload.so
    turn=$((turn + 1))
    [[ $3 == warm ]] || prefix=cold$turn-
    LD_PRELOAD=$preload taskset -c "$client_core" "$work/external" "$2" "$seconds" "$3" "$prefix"
}
for turn in $(seq 100); do one libc 1 warm 2>/dev/null | grep -q "failed 0" && break; sleep 0.1; done
for round in $(seq "$rounds"); do
    for variant in libc pod node; do
        if [[ $variant != libc ]]; then
            start_agent "$variant"
            mount --bind "$work/node/view/default" /run/nss-k8s
        fi
        for heat in cold warm; do
            for processes in 1 10 100; do
                # shellcheck disable=SC2046
                set -- $(one "$variant" "$processes" "$heat")
                [[ $1 == lookups && $8 == 0 ]] || { echo "failed: $variant $heat $processes: $*" >&2; exit 1; }
                echo "$2" >>"$work/rate.$variant.$heat.$processes"
                echo "$4" >>"$work/p50.$variant.$heat.$processes"
                echo "$6" >>"$work/p99.$variant.$heat.$processes"
            done
        done
        if [[ $variant != libc ]]; then
            umount /run/nss-k8s
            stop_agent
        fi
    done
    echo "round $round of $rounds done" >&2
done
echo
echo "getaddrinfo of external names, AF_UNSPEC, ndots:5, three suffixes; medians of $rounds interleaved rounds; $(uname -m), kernel $(uname -r | cut -d- -f1)"
echo
{
    echo "| names | processes | libc and CoreDNS | p50 | p99 | class \`pod\` | p50 | p99 | class \`node\` | p50 | p99 | pod / libc | node / libc |"
    echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for heat in cold warm; do
        for processes in 1 10 100; do
            row="| $heat | $processes |"
            for variant in libc pod node; do
                for figure in rate p50 p99; do row+=" $(median <"$work/$figure.$variant.$heat.$processes") |"; done
            done
            base=$(median <"$work/rate.libc.$heat.$processes")
            for variant in pod node; do
                row+=" $(awk -v a="$(median <"$work/rate.$variant.$heat.$processes")" -v b="$base" 'BEGIN { printf "%.1f", a / b }') |"
            done
            echo "$row"
        done
    done
} | keep external
