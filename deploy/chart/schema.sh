#!/usr/bin/env bash
# Puts the agent's schema (docs/config.schema.json) into the chart's: `config` of the values is checked by helm as the
# agent will check it. Without --check it rewrites values.schema.json.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
made=$(jq --slurpfile agent "$here/../../docs/config.schema.json" '
    .properties.config = ($agent[0] | del(."$schema", ."$defs", .title))
    | ."$defs" = $agent[0]."$defs"' "$here/values.schema.json")
if [[ ${1:-} == --check ]]; then
    [[ $made == "$(jq . "$here/values.schema.json")" ]] || { echo "values.schema.json is not current: deploy/chart/schema.sh" >&2; exit 1; }
else
    printf '%s\n' "$made" >"$here/values.schema.json"
fi
