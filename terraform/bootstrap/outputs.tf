output "state_bucket" {
  description = "Bucket for `bucket` in envs/*.s3.tfbackend."
  value       = aws_s3_bucket.state.id
}

output "state_key_arn" {
  description = "Key for `kms_key_id` in envs/*.s3.tfbackend; who applies needs to use it."
  value       = aws_kms_key.state.arn
}

output "github_oidc_provider_arn" {
  description = "ARN of the account's provider for GitHub Actions, or null."
  value       = one(aws_iam_openid_connect_provider.github[*].arn)
}

output "terraform_role_arns" {
  description = "Roles by which GitHub's workflows plan and apply Terraform."
  value       = { for name, role in aws_iam_role.terraform : name => role.arn }
}
