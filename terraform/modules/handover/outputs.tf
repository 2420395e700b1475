output "helm_values" {
  description = "Values of charts/sluice as YAML."
  value       = yamlencode(local.helm_values)
}

output "argocd_cluster_secret" {
  description = "The Secret that tells Argo CD of the cluster, as YAML (handover.schema.json)."
  value       = yamlencode(local.argocd_cluster_secret)
}
