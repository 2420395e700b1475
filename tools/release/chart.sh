#!/bin/sh
# The chart on a cluster: the release before installed, this one over it, tested, rolled back, tested. Without KUBECONFIG on a kind
# cluster, as on GitHub's runners. TAG: which release is the one before; by default the newest tag that this commit comes from.
set -eu
cd "$(dirname "$0")/../.."
before=${TAG-$(git describe --tags --abbrev=0 --match 'v*' HEAD^ 2>/dev/null || true)}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ -z "${KUBECONFIG:-}" ]; then
	kind create cluster --wait 120s
	export KUBECONFIG="$HOME/.kube/config"
fi
if [ -z "${SKIP_IMAGE:-}" ]; then
	docker build --tag localhost/sluice:test .
	kind load docker-image localhost/sluice:test
fi
check() {
	helm test sluice --namespace sluice && return
	kubectl logs sluice-test --namespace sluice
	exit 1
}
helm lint --strict charts/sluice --values charts/sluice/ci/embedded.yaml
helm package charts/sluice --destination "$work" >/dev/null
set -- --namespace sluice --wait --timeout 5m --set database.embedded=true --set image.repository=localhost/sluice --set image.tag=test \
	--set image.allowTag=true --set image.pullPolicy=Never --set tests.keySecret.name=sluice-admin
if [ -n "$before" ]; then
	mkdir "$work/before"
	git archive "$before" charts/sluice | tar --extract --directory "$work/before"
	echo "installing $before"
	helm upgrade --install sluice "$work/before/charts/sluice" --create-namespace "$@"
fi
helm upgrade --install sluice "$work"/sluice-*.tgz --create-namespace "$@"
check
if [ -n "$before" ]; then
	helm rollback sluice --namespace sluice --wait --timeout 5m
	check
fi
