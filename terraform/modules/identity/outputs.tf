output "github_role_arns" {
  description = "ARN of each role of GitHub Actions, by purpose."
  value       = { for purpose, role in aws_iam_role.github : purpose => role.arn }
}

output "workload_role_arns" {
  description = "ARN of each ServiceAccount's role."
  value       = { for key, role in module.workload : key => role.arn }
}
