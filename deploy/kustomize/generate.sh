#!/usr/bin/env bash
# Makes the Kustomize base and the generated components from the chart, so that both are the same objects.
#
#   generate.sh          writes them (needs helm: $HELM, else the one on the PATH)
#   generate.sh --check  says whether what is there is what would be written
#   generate.sh --digest prints a digest of the chart; chart.sha256 keeps the one of the last writing, so that a chart
#                        that was changed without this script is noticed without helm
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
chart=$here/../chart
helm=${HELM:-helm}

digest() {
    (cd "$chart" && find Chart.yaml values.yaml files templates -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
}
if [[ ${1:-} == --digest ]]; then
    digest
    exit
fi

out=$here
if [[ ${1:-} == --check ]]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
fi

# render TEMPLATE FOLDER [VALUE...]: one template of the chart as one file.
render() {
    local template=$1 folder=$2
    shift 2
    mkdir -p "$out/$folder"
    {
        echo "# Made from the chart by deploy/kustomize/generate.sh: change that, not this."
        "$helm" template nss-k8s "$chart" --namespace nss-k8s --kube-version 1.37.0 --show-only "templates/$template.yaml" \
            "${@/#/--set=}" | grep -v -e '^# Source: ' -e '^$' | sed '1{/^---$/d}'
    } >"$out/$folder/$template.yaml"
}

for template in namespace config rbac csidriver daemonset flow-control upstream; do
    render "$template" base namespace.create=true injection.create=false
done
render injection components/injection injection.apiVersion=v1
render injection-parameters components/injection injection.apiVersion=v1
render injection components/injection-v1beta1 injection.apiVersion=v1beta1
render injection-parameters components/injection-v1beta1 injection.apiVersion=v1beta1
render monitoring components/monitoring monitoring.{serviceMonitor,rules,dashboard}.create=true
render startup-taint components/startup-taint startupTaint.key=nss-k8s.io/starting
render config components/listener listener.enabled=true
# An address that nobody has: where NATS is, the component's reader says.
render fanout components/fanout fanout.enabled=true "fanout.servers={tls://192.0.2.10:4222}" fanout.ca.secret=nss-k8s-nats-ca \
    fanout.credentials.agentSecret=nss-k8s-nats-agent fanout.credentials.publisherSecret=nss-k8s-nats-publisher
render config components/openshift cluster.layout=openshift
render openshift components/openshift cluster.layout=openshift
render upstream components/openshift cluster.layout=openshift
digest >"$out/chart.sha256"

if [[ $out != "$here" ]]; then
    # What is written by hand lies beside it: only what is made is compared.
    (cd "$out" && find . -type f) | while read -r file; do
        cmp -s "$out/$file" "$here/$file" || { echo "deploy/kustomize/${file#./} is not current: deploy/kustomize/generate.sh" >&2; exit 1; }
    done
fi
