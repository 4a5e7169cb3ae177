module nss-k8s.invalid/tests/cluster/go-lookup

go 1.26.0
