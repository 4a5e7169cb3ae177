#!/usr/bin/env bash
# Fuzzes every parser of bytes for FUZZ_SECONDS each (default 60). The arguments name the targets;
# without any, all of them run. A finding stays in tests/fuzz/artifacts/<target>/, what was learned
# in tests/fuzz/corpus/<target>/. Needs a nightly toolchain; cargo-fuzz is installed beside the tree.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${FUZZ_SECONDS:-60}
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
for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target"
    echo "== $target, ${seconds} s"
    # These are the agent's: the others are built without it.
    features=()
    case $target in messages | config | manifests | classes | volumes | watches) features=(--features agent) ;; esac
    cargo +nightly fuzz run --fuzz-dir fuzz "${features[@]}" "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -max_len=16384 -print_final_stats=1 \
        2>&1 | grep -E '^(stat::number_of_exec|stat::new_units|SUMMARY|thread|==|Error|.*panicked)|^artifact' || true
    if compgen -G "fuzz/artifacts/$target/*" >/dev/null; then
        echo "findings in tests/fuzz/artifacts/$target" >&2
        exit 1
    fi
done
