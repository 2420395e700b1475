output "name" {
  description = "Name of the cluster."
  value       = aws_eks_cluster.this.name
}

output "arn" {
  description = "ARN of the cluster."
  value       = aws_eks_cluster.this.arn
}

output "endpoint" {
  description = "URL of the Kubernetes API."
  value       = aws_eks_cluster.this.endpoint
}

output "version" {
  description = "Minor version of Kubernetes that runs."
  value       = aws_eks_cluster.this.version
}

output "security_group_id" {
  description = "Security group that EKS gives to nodes and pods."
  value       = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
}

output "key_arn" {
  description = "ARN of the key of Secrets and disks."
  value       = module.key.arn
}

output "identity" {
  description = "What the workload_role module needs to know of the cluster."
  value       = local.cluster
}
