# Sourced by the benches. `keep NAME` passes a table on that has cells between bars, and leaves it in $RESULTS/NAME.csv where
# RESULTS is set, as `make bench` does: docs/benchmarks/NAME.csv, from which `make plots` makes the table and the picture of
# docs/BENCHMARKS.md. No cell may hold a comma. Figures that are CSV already are for `keep_csv NAME`.
keep() {
    local table
    table=$(cat)
    echo "$table"
    grep -v '^|-' <<<"$table" | sed 's/^| //; s/ |$//; s/ | /,/g' | keep_csv "$1" >/dev/null
}
keep_csv() { if [[ ${RESULTS:-} ]]; then tee "$RESULTS/$1.csv"; else cat; fi; }
