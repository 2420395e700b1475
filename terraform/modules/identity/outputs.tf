output "github_role_arns" {
  description = "ARN of each role of GitHub Actions, by purpose."
  value       = { for purpose, role in aws_iam_role.github : purpose => role.arn }
}

output "workload_role_arns" {
  description = "ARN of each ServiceAccount's role."
  value       = { for key, role in module.workload : key => role.arn }
}

output "workload_role_names" {
  description = "Name of each ServiceAccount's role, for more policies."
  value       = { for key, role in module.workload : key => role.name }
}

output "service_policy" {
  description = "What the service may do, for others that log in to the database as it does (JSON)."
  value       = data.aws_iam_policy_document.service.json
}
