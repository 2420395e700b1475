#!/bin/sh
# Installs Argo CD on the cluster that kubectl speaks to, tells it of that cluster, and of the repository: from then on git decides.
#
#   terraform output -raw argocd_cluster_secret | argocd/bootstrap.sh
#
# It may be run again: it changes what differs. ARGOCD=present leaves the installation of Argo CD out.
# The repository is the hand-over's annotation gitops_repository (`gitops` in Terraform), its one place. A private one needs a
# Secret with credentials first (argocd/README.md).
set -eu

here=$(cd "$(dirname "$0")" && pwd)
chart=10.1.1 # Argo CD 3.5
handover=$(mktemp)
trap 'rm -f "$handover"' EXIT
cat >"$handover"

# What is the hand-over's, without asking a cluster.
told() {
	kubectl create --dry-run=client --filename "$handover" --output "go-template={{index .metadata.annotations \"$1\"}}"
}

repository=$(told gitops_repository)
revision=$(told gitops_revision)
path=$(told gitops_path)
for value in "$repository" "$revision" "$path"; do
	case $value in '' | '<no value>')
		echo 'bootstrap: the hand-over names no repository, revision or path; set gitops in Terraform and apply' >&2
		exit 2
		;;
	esac
done

if [ "${ARGOCD:-}" != present ]; then
	helm upgrade --install argocd argo-cd --repo https://argoproj.github.io/argo-helm --version "$chart" \
		--namespace argocd --create-namespace --values "$here/values.yaml" --wait
fi
kubectl apply --server-side --field-manager=sluice-bootstrap --filename "$handover"
kubectl apply --server-side --field-manager=sluice-bootstrap --filename - <<END
apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata:
  name: root
  namespace: argocd
spec:
  description: Projects and the ApplicationSet over clusters
  sourceRepos: ["$repository"]
  destinations:
    - {server: https://kubernetes.default.svc, namespace: argocd}
  clusterResourceWhitelist: []
  namespaceResourceWhitelist:
    - {group: argoproj.io, kind: AppProject}
    - {group: argoproj.io, kind: ApplicationSet}
---
apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: root
  namespace: argocd
spec:
  project: root
  destination: {server: https://kubernetes.default.svc, namespace: argocd}
  source:
    repoURL: "$repository"
    targetRevision: "$revision"
    path: "$path/root"
    helm:
      parameters:
        - {name: repository, value: "$repository"}
  syncPolicy:
    automated: {prune: true, selfHeal: true, allowEmpty: false}
    syncOptions: [ServerSideApply=true, FailOnSharedResource=true]
    retry:
      limit: 10
      refresh: true
      backoff: {duration: 5s, factor: 2, maxDuration: 3m}
END
echo "Argo CD follows $path of $repository at $revision. Watch it: kubectl get applications --namespace argocd --watch"
