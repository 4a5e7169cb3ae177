#!/usr/bin/env bash
# JSON schemas of the kinds that we install, as Kubernetes itself describes them.
#
#   schemas.sh FOLDER VERSION...   FOLDER/VERSION/KIND-GROUP-VERSION.json for each, unless they are there
#
# Each release of Kubernetes carries its API's description (OpenAPI v3) in its Go module, whose hash Go checks against
# the public log. Ours is the conversion: references become local, and an object that lists its properties takes no
# other, so that a field of a newer release is an error with an older one.
set -euo pipefail
folder=${1:?usage: schemas.sh FOLDER VERSION...}
shift
kinds='["ConfigMap","Namespace","Pod","ResourceQuota","Service","ServiceAccount","DaemonSet","Deployment","StatefulSet","Job","CronJob",
    "ClusterRole","ClusterRoleBinding","Role","RoleBinding","PodDisruptionBudget","CSIDriver","FlowSchema","PriorityLevelConfiguration",
    "MutatingAdmissionPolicy","MutatingAdmissionPolicyBinding"]'

convert() {
    jq -c --argjson kinds "$kinds" '
        (.components.schemas
            | walk(if type == "object" and (."$ref" | type) == "string"
                then ."$ref" |= sub("#/components/schemas/"; "#/definitions/") else . end)
            | map_values(if .properties and (has("additionalProperties") | not)
                then .additionalProperties = false else . end)) as $all
        | $all | to_entries[]
        | .key as $name
        | .value."x-kubernetes-group-version-kind" // [] | select(length == 1) | .[0]
        | select(.kind as $kind | $kinds | index($kind))
        # What the kind needs, and no more.
        | {file: ([.kind, (.group | split(".")[0]), .version] | map(select(. != null and . != "")) | join("-") | ascii_downcase),
           schema: {
             "$schema": "http://json-schema.org/draft-07/schema#",
             "$ref": "#/definitions/\($name)",
             definitions: ({names: [$name], done: {}}
                | until(.names == []; .names[0] as $next | .names |= .[1:]
                    | if .done[$next] then . else .done[$next] = $all[$next]
                        | .names += [$all[$next] | .. | objects | ."$ref"? // empty | sub("#/definitions/"; "")] end)
                | .done)}}' "$1"
}

for version; do
    # Made again when this script makes other ones.
    made=$(sha256sum <"${BASH_SOURCE[0]}")
    [[ $(cat "$folder/$version/complete" 2>/dev/null) != "$made" ]] || continue
    echo "making schemas of Kubernetes $version" >&2
    cache=$(mktemp -d)
    # Go makes its cache read-only.
    trap 'chmod -R u+w "$cache"; rm -rf "$cache"' EXIT
    # A module of no requirements of its own, so that nothing else is looked at.
    zip=$(cd "$cache" && GOMODCACHE=$cache/modules GOFLAGS=-modcacherw go mod download -json "k8s.io/kubernetes@$version" | jq -r .Zip)
    mkdir -p "$folder/$version" "$cache/specs"
    for group in api__v1 apis__apps__v1 apis__batch__v1 apis__policy__v1 apis__rbac.authorization.k8s.io__v1 apis__storage.k8s.io__v1 \
        apis__flowcontrol.apiserver.k8s.io__v1 apis__admissionregistration.k8s.io__v1 apis__admissionregistration.k8s.io__v1beta1; do
        spec=k8s.io/kubernetes@$version/api/openapi-spec/v3/${group}_openapi.json
        unzip -q -p "$zip" "$spec" >"$cache/specs/$group" 2>/dev/null || continue
        convert "$cache/specs/$group" | while IFS= read -r line; do
            jq -c .schema <<<"$line" >"$folder/$version/$(jq -r .file <<<"$line").json"
        done
    done
    echo "$made" >"$folder/$version/complete"
    chmod -R u+w "$cache"
    rm -rf "$cache"
    trap - EXIT
done
