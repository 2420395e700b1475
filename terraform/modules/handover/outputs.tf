output "helm_values" {
  description = "Values of charts/sluice as YAML."
  value       = yamlencode(local.helm_values)
}

output "argocd_cluster_secret" {
  description = "The Secret that tells Argo CD of the cluster, as YAML (handover.schema.json)."
  value       = yamlencode(local.argocd_cluster_secret)
}

output "cluster_manifests" {
  description = "What auto mode needs in the cluster before anything else, as YAML: NetworkPolicies enforced, StorageClass, IngressClass; empty with managed nodes."
  value       = local.auto ? join("---\n", [for manifest in local.cluster_manifests : yamlencode(manifest)]) : ""
}
