#!/usr/bin/env bash
# The agent's listener and forwarder against CoreDNS with `cache`, by dnsperf: queries per second of CPU time, latency at
# a steady 500 queries per second, and memory. Both servers run on one core, the client on the other; they take turns,
# ROUNDS times (5), SECONDS_EACH (5) each, and the table shows medians. The names are external and cached.
. "$(dirname "${BASH_SOURCE[0]}")/scene.sh"
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-5} names=${NAMES:-1000}
start_servers
start_agent node
for number in $(seq "$names"); do echo "host$number.example.com A"; done >"$work/queries"

# Both answer everything from their caches before anything counts.
declare -A address=([CoreDNS]=10.96.0.10 [nss-k8s]=169.254.20.10) process=([CoreDNS]=$coredns [nss-k8s]=$agent)
perf() { taskset -c "$client_core" dnsperf -s "${address[$1]}" -d "$work/queries" "${@:2}"; }
for server in CoreDNS nss-k8s; do
    for turn in $(seq 100); do
        kill -0 "${process[$server]}" || exit 1
        perf "$server" -n 1 -t 1 -q 20 >"$work/warm.$server" 2>&1 && grep -q "Queries lost: *0 " "$work/warm.$server" && break
        sleep 0.1
    done
    grep -q "NOERROR $names" "$work/warm.$server" || { cat "$work/warm.$server" >&2; exit 1; }
done
hertz=$(getconf CLK_TCK)
for round in $(seq "$rounds"); do
    for server in CoreDNS nss-k8s; do
        for mode in udp tcp; do
            before=$(ticks "${process[$server]}")
            perf "$server" -m "$mode" -l "$seconds" -c 8 -q 200 >"$work/out" 2>&1
            after=$(ticks "${process[$server]}")
            done_=$(awk '/Queries completed:/ { print $3 }' "$work/out")
            awk '/Queries per second:/ { print $4 }' "$work/out" >>"$work/rate.$server.$mode"
            awk '/Queries lost:/ { print $3 }' "$work/out" >>"$work/lost.$server.$mode"
            awk -v done="$done_" -v ticks=$((after - before)) -v hertz="$hertz" 'BEGIN { print done * hertz / ticks }' >>"$work/efficiency.$server.$mode"
        done
        perf "$server" -v -Q 500 -l "$seconds" -c 1 >"$work/out" 2>&1
        awk '/^> NOERROR/ { print $NF * 1e6 }' "$work/out" | sort -g >"$work/latencies"
        awk '{ value[NR] = $1 } END { print value[int(NR / 2) + 1] }' "$work/latencies" >>"$work/p50.$server"
        awk '{ value[NR] = $1 } END { print value[int(NR * 0.99) + 1] }' "$work/latencies" >>"$work/p99.$server"
    done
    echo "round $round of $rounds done" >&2
done
echo
echo "$names cached external names, medians of $rounds interleaved rounds of $seconds s; $(uname -m), kernel $(uname -r | cut -d- -f1), $("$BENCH_COREDNS" -version | head -1)"
echo
{
    echo "| server | UDP: queries/s | UDP: per CPU second | lost | TCP: queries/s | TCP: per CPU second | p50 (us) at 500 qps | p99 | RSS (MB) |"
    echo "|---|---|---|---|---|---|---|---|---|"
    for server in CoreDNS nss-k8s; do
        lost=$(awk '{ sum += $1 } END { print sum + 0 }' "$work/lost.$server.udp")
        printf '| %s | %.0f | %.0f | %d | %.0f | %.0f | %.0f | %.0f | %s |\n' "$server" "$(median <"$work/rate.$server.udp")" "$(median <"$work/efficiency.$server.udp")" "$lost" \
            "$(median <"$work/rate.$server.tcp")" "$(median <"$work/efficiency.$server.tcp")" "$(median <"$work/p50.$server")" "$(median <"$work/p99.$server")" "$(resident "${process[$server]}")"
    done
} | keep listener
for mode in udp tcp; do
    awk -v mode="${mode^^}" -v ours="$(median <"$work/efficiency.nss-k8s.$mode")" -v theirs="$(median <"$work/efficiency.CoreDNS.$mode")" \
        'BEGIN { printf "\n%s: %.1f times the queries per CPU second of CoreDNS\n", mode, ours / theirs }'
done
