{{/* Labels of every object. */}}
{{- define "nss-k8s.labels" -}}
{{ include "nss-k8s.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: nss-k8s
{{- end }}

{{/* Labels that select pods; they never change. */}}
{{- define "nss-k8s.selector" -}}
app.kubernetes.io/name: nss-k8s
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The image. */}}
{{- define "nss-k8s.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* kube-dns, rke2 or openshift. */}}
{{- define "nss-k8s.layout" -}}
{{- if ne .Values.cluster.layout "auto" -}}
{{ .Values.cluster.layout }}
{{- else if .Capabilities.APIVersions.Has "operator.openshift.io/v1" -}}
openshift
{{- else if contains "+rke2" .Capabilities.KubeVersion.Version -}}
rke2
{{- else -}}
kube-dns
{{- end -}}
{{- end }}

{{/* The namespace of the cluster DNS's pods. */}}
{{- define "nss-k8s.dnsNamespace" -}}
{{- if eq (include "nss-k8s.layout" .) "openshift" }}openshift-dns{{ else }}kube-system{{ end -}}
{{- end }}

{{/* The version of the admission policy's API; empty: there is none. */}}
{{- define "nss-k8s.policyVersion" -}}
{{- if not (and .Values.injection.create (eq .Values.delivery "csi")) -}}
{{- else if ne .Values.injection.apiVersion "auto" -}}
{{ .Values.injection.apiVersion }}
{{- else if semverCompare ">=1.36.0-0" .Capabilities.KubeVersion.Version -}}
v1
{{- else if and (semverCompare ">=1.34.0-0" .Capabilities.KubeVersion.Version) (.Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy") -}}
v1beta1
{{- end -}}
{{- end }}

{{/* The agent's configuration: what the chart knows, under what the values say. */}}
{{- define "nss-k8s.config" -}}
{{- $http := dict "address" (printf "%s:%d" .Values.http.address (int .Values.http.port)) -}}
{{- $config := dict "http" $http -}}
{{- if .Values.upstream.create -}}
{{- $service := printf "%s/nss-k8s-upstream" (include "nss-k8s.dnsNamespace" .) -}}
{{- $_ := set $config "forward" (dict "upstream_service" $service) -}}
{{- end -}}
{{- $kubernetes := dict -}}
{{- $layout := include "nss-k8s.layout" . -}}
{{- if eq $layout "openshift" -}}
{{- $_ := set $kubernetes "cluster_dns_service" "openshift-dns/dns-default" -}}
{{- else if eq $layout "rke2" -}}
{{- $_ := set $kubernetes "cluster_dns_service" "kube-system/rke2-coredns-rke2-coredns" -}}
{{- end -}}
{{- if .Values.listener.enabled -}}
{{- $_ := set $config "listen" (dict "addresses" .Values.listener.addresses) -}}
{{- $_ := set $kubernetes "cluster_dns" .Values.listener.addresses -}}
{{- end -}}
{{- if $kubernetes -}}
{{- $_ := set $config "kubernetes" $kubernetes -}}
{{- end -}}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml -}}
{{- end }}

{{/* Labels that select the publishers' pods; they never change. */}}
{{- define "nss-k8s.publisher" -}}
app.kubernetes.io/name: nss-k8s-publish
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* What agents and publishers are told alike of the bucket. */}}
{{- define "nss-k8s.fanoutArgs" -}}
{{- with .Values.fanout -}}
- --nats-bucket={{ .bucket }}
{{- with include "nss-k8s.fanoutAuthority" $ }}
- --nats-ca=/etc/nss-k8s-nats/ca/ca.crt
{{- end }}
{{- if .credentials.agentSecret }}
- --nats-credentials=/etc/nss-k8s-nats/credentials/credentials
{{- end }}
{{- end -}}
{{- end }}

{{/* Not empty: an authority is given. */}}
{{- define "nss-k8s.fanoutAuthority" -}}
{{ .Values.fanout.ca.secret }}{{ .Values.fanout.ca.configMap }}
{{- end }}

{{/* Where a container has them; the Secret is that of its credentials. */}}
{{- define "nss-k8s.fanoutMounts" -}}
{{- with .secret -}}
- name: nats-credentials
  mountPath: /etc/nss-k8s-nats/credentials
  readOnly: true
{{- end }}
{{- with include "nss-k8s.fanoutAuthority" .root }}
- name: nats-ca
  mountPath: /etc/nss-k8s-nats/ca
  readOnly: true
{{- end }}
{{- end }}

{{/* The volumes for that. Modes are decimal: octal numbers are not the same in every version of YAML. */}}
{{- define "nss-k8s.fanoutVolumes" -}}
{{- with .root.Values.fanout -}}
{{- with $.secret -}}
- name: nats-credentials
  secret:
    secretName: {{ . }}
    defaultMode: {{ $.mode }}
    items: [{key: {{ $.root.Values.fanout.credentials.key }}, path: credentials}]
{{- end }}
{{- if .ca.secret }}
- name: nats-ca
  secret:
    secretName: {{ .ca.secret }}
    items: [{key: {{ .ca.key }}, path: ca.crt}]
{{- else if .ca.configMap }}
- name: nats-ca
  configMap:
    name: {{ .ca.configMap }}
    items: [{key: {{ .ca.key }}, path: ca.crt}]
{{- end }}
{{- end -}}
{{- end }}

{{/* Metadata of what exists only while `helm uninstall` asks. */}}
{{- define "nss-k8s.removable" }}
  labels:
    app.kubernetes.io/name: nss-k8s-removable
    app.kubernetes.io/instance: {{ .Release.Name }}
    app.kubernetes.io/part-of: nss-k8s
  annotations:
    helm.sh/hook: pre-delete
    helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
