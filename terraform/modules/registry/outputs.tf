output "repository_urls" {
  description = "URL of each repository, without tag, by name."
  value       = { for name, repository in local.known : name => repository.repository_url }
}

output "repository_arns" {
  description = "ARNs of the repositories."
  value       = [for repository in local.known : repository.arn]
}

output "signing_key_arn" {
  description = "ARN of the key that signs images."
  value       = local.makes ? module.signing_key[0].arn : data.aws_kms_public_key.signing.arn
}

output "signing_key_uri" {
  description = "That key as cosign takes it: `awskms:///` with the alias, or with its ARN where it is another account's."
  value       = "awskms:///${local.elsewhere ? local.signing_alias_arn : local.signing_alias}"
}

output "signing_public_key" {
  description = "Public half of that key as PEM."
  value       = data.aws_kms_public_key.signing.public_key_pem
}

output "cache_prefixes" {
  description = "Repository prefix of each cached upstream registry."
  value = merge(
    { for name in var.pull_through_cache : name => "${local.cache_name}/${name}" },
    { for name in distinct([for one in var.mirrored_repositories : split("/", one)[0]]) : name => "${local.cache_name}/${name}" },
    { for name, rule in aws_ecr_pull_through_cache_rule.this : name => rule.ecr_repository_prefix },
  )
}

output "cached_repository_arns" {
  description = "What the first pull of an image through the cache makes: repositories below each prefix, in this account."
  value       = [for name in var.pull_through_cache : "${local.ecr_arn}:${var.account.id}:repository/${local.cache_name}/${name}/*"]
}

output "mirror_urls" {
  description = "URL of each mirrored repository, without tag, by the name of its public one."
  value       = { for name, repository in aws_ecr_repository.mirror : name => repository.repository_url }
}
