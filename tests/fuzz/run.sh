#!/usr/bin/env bash
# Fuzzes every parser of bytes for FUZZ_SECONDS each (default 60). The arguments name the targets;
# without any, all of them run. A finding stays in tests/fuzz/artifacts/<target>/, what was learned
# in tests/fuzz/corpus/<target>/. An input that takes FUZZ_TIMEOUT seconds (default 20) by the clock is a
# finding: give more where others use the machine. Needs a nightly toolchain; cargo-fuzz is installed beside the tree.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
timeout=${FUZZ_TIMEOUT:-20}
tools=${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s/tools
if ! rustc +nightly --version >/dev/null 2>&1; then
    echo "fuzzing needs a nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 1
fi
if [[ ! -x $tools/bin/cargo-fuzz ]]; then
    env -u CARGO_TARGET_DIR cargo +nightly install --quiet --locked --root "$tools" cargo-fuzz
fi
export PATH="$tools/bin:$PATH"
targets=("$@")
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <(cd fuzz/fuzz_targets && printf '%s\n' *.rs | sed 's/\.rs$//')
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
table=()
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    echo "== $target, ${seconds} s"
    # These are the agent's: the others are built without it.
    features=()
    case $target in messages | config | manifests | classes | volumes | watches | registry | bucket) features=(--features agent) ;; esac
    status=0
    cargo +nightly fuzz run --fuzz-dir fuzz "${features[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout="$timeout" -report_slow_units="$timeout" -rss_limit_mb=4096 -max_len=16384 -print_final_stats=1 \
        >"$log" 2>&1 || status=$?
    grep -aE '^(stat::number_of_exec|stat::new_units|SUMMARY|thread|==|Error|error|.*panicked)|^artifact' "$log" || true
    if compgen -G "fuzz/artifacts/$target/*" >/dev/null; then
        echo "findings in tests/fuzz/artifacts/$target" >&2
        exit 1
    fi
    # One that was not built, or did not run to its end, has proved nothing.
    if ((status != 0)); then
        tail -n 40 "$log" >&2
        echo "$target ended with status $status" >&2
        exit 1
    fi
    table+=("| \`$target\` | $(awk '/^stat::number_of_exec/ {print $2}' "$log") | $(find "fuzz/corpus/$target" -type f | wc -l) |")
done
echo "| Target | Inputs | Corpus |"
echo "|---|---|---|"
printf '%s\n' "${table[@]}"
