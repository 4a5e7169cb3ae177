module nss-k8s.invalid/tests/manifests/expressions

go 1.26.0

require github.com/kyverno/go-jmespath v0.4.1-0.20231124160150-95e59c162877
