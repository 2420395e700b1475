output "helm_values" {
  description = "Values for charts/sluice."
  value       = module.handover.helm_values
}

output "argocd_cluster_secret" {
  description = "The Secret by which Argo CD knows the cluster."
  value       = module.handover.argocd_cluster_secret
}
