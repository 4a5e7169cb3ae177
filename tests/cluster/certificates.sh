#!/usr/bin/env bash
# Makes what the control plane and its clients prove themselves with, below the folder $1:
# an authority, the API server's certificate, a key for service account tokens, and a kubeconfig each
# for the administrator, the controllers and the agent (whose rights are only what the tests grant it);
# with a second argument `node`, also what the scheduler, kubelet and kube-proxy of node-1 need.
set -euo pipefail
cd "${1:?usage: certificates.sh FOLDER [node]}"
server=https://127.0.0.1:6443

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

# issue NAME SUBJECT EXTENSIONS: a key and a certificate of the authority.
issue() {
    key "$1"
    openssl req -new -key "$1.key" -subj "$2" -out "$1.csr"
    openssl x509 -req -in "$1.csr" -CA authority.crt -CAkey authority.key -CAcreateserial -days 2 \
        -extfile <(printf '%s\n' "$3") -out "$1.crt" 2>/dev/null
}

# client NAME SUBJECT: a client's certificate and kubeconfig.
client() {
    issue "$1" "$2" "extendedKeyUsage=clientAuth"
    cat >"$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: $1}}]
clusters: [{name: here, cluster: {server: "$server", certificate-authority: $PWD/authority.crt}}]
users: [{name: $1, user: {client-certificate: $PWD/$1.crt, client-key: $PWD/$1.key}}]
YAML
}

key authority
openssl req -x509 -new -key authority.key -subj /CN=test-authority -days 2 -out authority.crt
key service-accounts
openssl ec -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null
issue server /CN=kube-apiserver "extendedKeyUsage=serverAuth
subjectAltName=IP:127.0.0.1,IP:10.244.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
client administrator /O=system:masters/CN=administrator
client controllers /CN=system:kube-controller-manager
client agent /CN=nss-k8s-agent

if [[ ${2:-} == node ]]; then
    client scheduler /CN=system:kube-scheduler
    client proxy /CN=system:kube-proxy
    client kubelet /O=system:nodes/CN=system:node:node-1
    # The API server's own, by which the kubelet knows it (logs, exec).
    issue kubelet-client /CN=kube-apiserver-kubelet-client "extendedKeyUsage=clientAuth"
fi
