#!/usr/bin/env bash
# The manifests: made from the chart, alike in both forms, and valid for every release of Kubernetes that we serve.
#
#   run.sh      needs Go (helm, kubectl and kubeconform are built when the cache lacks them) and, once, the network
#
#   NSS_K8S_KYVERNO  Kyverno's command line (github.com/kyverno/kyverno/cmd/cli/kubectl-kyverno): runs its rule, too. It
#                    takes ten minutes to build, and is not built here.
#   NSS_K8S_CACHE    where programs and schemas are kept (default ${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
cd "$root"
cache=${NSS_K8S_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/nss-k8s}
for pair in jq:jq unzip:unzip; do
    command -v "${pair%%:*}" >/dev/null || { echo "run.sh: needs ${pair%%:*} (Debian: ${pair##*:}); make prepare" >&2; exit 1; }
done
for program in helm kubectl kubeconform; do
    programs=$(tests/cluster/build.sh "$cache" "$program")
done
helm=$programs/helm
export HELM=$helm
# Neither reads what the user has.
HELM_CACHE_HOME=$(mktemp -d)
export HELM_CACHE_HOME HELM_CONFIG_HOME=$HELM_CACHE_HOME HELM_DATA_HOME=$HELM_CACHE_HOME KUBECONFIG=/dev/null
work=$HELM_CACHE_HOME
trap 'rm -rf "$work"' EXIT

# The last release of each minor version.
releases=(v1.30.14 v1.31.14 v1.32.13 v1.33.13 v1.34.4 v1.35.4 v1.36.3 v1.37.2)
"$here/schemas.sh" "$cache/schemas" "${releases[@]}"

fail() {
    echo "manifests: $*" >&2
    exit 1
}
# template VALUE...: what a cluster would get, hooks and tests included.
template() {
    "$helm" template nss-k8s deploy/chart --namespace nss-k8s "$@"
}
all=(--set namespace.create=true --set resourceQuota.create=true --set injection.musl=true --set injection.nsswitch=true
    --set monitoring.serviceMonitor.create=true --set monitoring.rules.create=true --set monitoring.dashboard.create=true
    --set startupTaint.key=nss-k8s.io/starting)
fanout=(--set fanout.enabled=true --set "fanout.servers={tls://192.0.2.10:4222}" --set fanout.ca.secret=nss-k8s-nats-ca
    --set fanout.credentials.agentSecret=nss-k8s-nats-agent --set fanout.credentials.publisherSecret=nss-k8s-nats-publisher)

"$helm" lint --quiet --strict deploy/chart
deploy/chart/schema.sh --check
deploy/kustomize/generate.sh --check

# What the chart's schema is for: a mistake is an error, in the agent's configuration too.
for wrong in agnt.log=info config.processes.disabled_permille=1001 config.clases=1 delivery=docker image.digest=latest \
    injection.apiVersion=v2 fanout.enabled=true fanout.servers={http://192.0.2.10} fanout.credentials.agentSecret=one \
    fanout.ca.secret=a,fanout.ca.configMap=b fanout.publisher.bucketReplicas=2; do
    ! template --set "$wrong" >/dev/null 2>&1 || fail "helm takes --set $wrong"
done

# Which release gets which policy.
policy() {
    template "$@" | sed -n 'N; s/^apiVersion: admissionregistration.k8s.io\/\(.*\)\nkind: MutatingAdmissionPolicy$/\1/p; D'
}
[[ $(policy --kube-version 1.37.2) == v1 && $(policy --kube-version 1.36.0) == v1 ]] || fail "no v1 policy for 1.36 and 1.37"
served=(--api-versions admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy)
[[ $(policy --kube-version 1.35.4 "${served[@]}") == v1beta1 ]] || fail "no v1beta1 policy for a 1.35 that serves it"
[[ -z $(policy --kube-version 1.34.4) && -z $(policy --kube-version 1.33.13) ]] || fail "a policy where none is served"

# Where the cluster DNS is, by the usual layouts.
for layout in "kube-dns --kube-version=v1.37.2" "rke2-coredns-rke2-coredns --kube-version=v1.33.1+rke2r1" \
    "openshift-dns/dns-default --api-versions=operator.openshift.io/v1"; do
    template "${layout#* }" --show-only templates/config.yaml --show-only templates/upstream.yaml >"$work/layout.yaml"
    case ${layout% *} in
        kube-dns) ! grep -q cluster_dns_service "$work/layout.yaml" ;;
        *) grep -q "cluster_dns_service: .*${layout% *}$" "$work/layout.yaml" ;;
    esac || fail "the layout ${layout% *} is not found"
done

# conform RELEASE FILE...: against that release's schemas, and ours of kinds that are not Kubernetes' own.
conform() {
    local release=$1
    shift
    "$programs/kubeconform" -strict -summary -kubernetes-version "${release#v}" \
        -schema-location "$cache/schemas/{{ .NormalizedKubernetesVersion }}/{{ .ResourceKind }}{{ .KindSuffix }}.json" \
        -schema-location "$here/schemas/{{ .ResourceKind }}{{ .KindSuffix }}.json" "$@" ||
        fail "not valid for Kubernetes $release"
}
# The check itself is checked: an unknown field, and a kind that the release lacks.
printf 'apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n' >"$work/wrong.yaml"
! (conform v1.37.2 "$work/wrong.yaml") >/dev/null 2>&1 || fail "an unknown field is not noticed"
template --kube-version 1.37.2 --show-only templates/injection.yaml >"$work/policy.yaml"
! (conform v1.35.4 "$work/policy.yaml") >/dev/null 2>&1 || fail "a policy of v1 is not noticed in 1.35"

for release in "${releases[@]}"; do
    version=${release#v}
    beta=()
    [[ $release != v1.3[45].* ]] || beta=("${served[@]}")
    template --kube-version "$version" >"$work/defaults.yaml"
    template --kube-version "$version" "${all[@]}" "${beta[@]}" >"$work/all.yaml"
    template --kube-version "$version" --set listener.enabled=true >"$work/listener.yaml"
    template --kube-version "$version" --set cluster.layout=openshift >"$work/openshift.yaml"
    template --kube-version "$version" -f deploy/chart/values-development.yaml >"$work/development.yaml"
    template --kube-version "$version" "${fanout[@]}" "${all[@]}" "${beta[@]}" --set cluster.layout=openshift >"$work/fanout.yaml"
    echo -n "Kubernetes $version: "
    conform "$release" "$work"/{defaults,all,listener,openshift,development,fanout}.yaml deploy/policies
done

# canonical: YAML documents to sorted lines of JSON, whose keys helm sorts: it is a reader of YAML that is there anyway.
mkdir -p "$work/reader/templates"
printf 'apiVersion: v2\nname: reader\nversion: 0.0.0\n' >"$work/reader/Chart.yaml"
cat >"$work/reader/templates/lines.yaml" <<'YAML'
{{- range splitList "\n---\n" (print "\n" (.Files.Get "all.yaml")) }}
{{- with fromYaml . }}
---
{{ toJson . }}
{{- end }}
{{- end }}
YAML
canonical() {
    cat >"$work/reader/all.yaml"
    "$helm" template reader "$work/reader" | grep '^{' | LC_ALL=C sort
}
echo "Kustomize and the chart:"
same() {
    local name=$1 components=$2
    shift 2
    local overlay=$work/overlay
    mkdir -p "$overlay"
    cp -r deploy/kustomize/base deploy/kustomize/components "$overlay/"
    {
        echo "resources: [base]"
        echo "components: [$components]"
    } >"$overlay/kustomization.yaml"
    "$programs/kubectl" kustomize "$overlay" | canonical >"$work/kustomize.json"
    template --no-hooks --skip-tests --kube-version 1.37.2 --set namespace.create=true "$@" | canonical >"$work/helm.json"
    diff "$work/kustomize.json" "$work/helm.json" | cut -c 1-400 >&2 || fail "$name: Kustomize's objects are not the chart's"
    echo "  $name: $(wc -l <"$work/helm.json") objects, the same"
    rm -rf "$overlay"
}
same base "" --set injection.create=false
same injection components/injection
same injection-v1beta1 components/injection-v1beta1 --set injection.apiVersion=v1beta1
same monitoring components/monitoring --set injection.create=false \
    --set monitoring.serviceMonitor.create=true --set monitoring.rules.create=true --set monitoring.dashboard.create=true
same startup-taint components/startup-taint --set injection.create=false --set startupTaint.key=nss-k8s.io/starting
same listener components/listener --set injection.create=false --set listener.enabled=true
same fanout components/fanout --set injection.create=false "${fanout[@]}"
same openshift components/openshift --set injection.create=false --set cluster.layout=openshift

# The patch for fixed workloads: the annotated ones have the volume and the mounts beside their own, and are valid.
"$programs/kubectl" kustomize --load-restrictor LoadRestrictionsNone "$here/workloads" >"$work/workloads.yaml"
for release in "${releases[@]}"; do
    conform "$release" "$work/workloads.yaml" >/dev/null
done
canonical <"$work/workloads.yaml" | jq -es '
    map(. as $object | (.spec.jobTemplate.spec // .spec).template.spec
        | {name: $object.metadata.name, volumes: [.volumes[]? | .name], mounts: [.containers[] | select(.name == "app") | .volumeMounts[]?.mountPath]})
    | (map(select(.name == "patched")) | length == 5
        and all((.volumes | index("nss-k8s")) and (.mounts | index("/run/nss-k8s")) and (.mounts | index("/etc/ld.so.preload"))))
    and (map(select(.name == "left-alone")) | length == 1 and all(.volumes == [] and .mounts == []))
    and (map(select(.mounts | index("/data"))) | length == 4)' >/dev/null || fail "the component for workloads"
echo "  workloads: patched"

# What Kyverno's rule asks of a pod, by Kyverno's own JMESPath; pods' names say what must come of them.
cat deploy/policies/kyverno.yaml <(echo ---) "$here/kyverno/pods.yaml" | canonical |
    (cd "$here/expressions" && GOFLAGS="-mod=readonly -buildvcs=false" go run .) >"$work/expressions"
grep '^injected-' "$work/expressions" >"$work/passing"
[[ $(wc -l <"$work/passing") == 7 ]] && ! grep -v ' passes$' "$work/passing" || fail "Kyverno's preconditions refuse a pod that they must not"
for pod in win win-affinity not-linux virtual virtual-affinity provider-affinity provider-selector taken; do
    grep -qx "left-$pod is refused" "$work/expressions" || fail "Kyverno's preconditions let left-$pod pass"
done
echo "  Kyverno: its preconditions choose as told"

# The whole rule, by Kyverno.
if [[ -n ${NSS_K8S_KYVERNO:-} ]]; then
    "$NSS_K8S_KYVERNO" apply deploy/policies/kyverno.yaml -r "$here/kyverno/pods.yaml" -f "$here/kyverno/values.yaml" \
        -o "$work/kyverno.yaml" >"$work/kyverno.log" 2>&1 || { cat "$work/kyverno.log" >&2; fail "Kyverno"; }
    canonical <"$work/kyverno.yaml" | jq -es '
        # It writes what it has changed twice, and what it left alone once or not at all.
        unique_by(.metadata.name) as $pods
        | ($pods | map(select(.metadata.name | startswith("injected-"))) | length == 7 and all(
            ([.spec.volumes[] | select(.csi.driver == "csi.nss-k8s.io")] | length == 1)
            and all(.spec.containers[], .spec.initContainers[]?;
                (.name == "has") != ([.volumeMounts[]?.mountPath] | contains(["/run/nss-k8s", "/etc/ld.so.preload"])))))
        and ($pods | map(select(.metadata.name | startswith("left-"))) | all([.spec.volumes[]?.csi] | map(select(. != null)) == []))' \
        >/dev/null || fail "Kyverno's rule"
    echo "  Kyverno: $("$NSS_K8S_KYVERNO" version 2>/dev/null | head -1) injects as told"
else
    echo "  Kyverno: SKIPPED, NSS_K8S_KYVERNO is not set; its form and its preconditions were looked at"
fi
echo "manifests: passed"
