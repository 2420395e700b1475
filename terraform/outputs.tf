output "cluster" {
  description = "Name, version, endpoint and security group of the cluster."
  value = {
    name              = module.cluster.name
    version           = module.cluster.version
    endpoint          = module.cluster.endpoint
    security_group_id = module.cluster.security_group_id
  }
}

output "database" {
  description = "Host, port, name, identifier, owner's secret (its ARN) and max_connections of the database."
  value = {
    host             = module.database.host
    port             = module.database.port
    name             = module.database.name
    identifier       = module.database.identifier
    owner_secret_arn = module.database.owner_secret_arn
    max_connections  = local.database_max_connections
  }
}

output "database_ca_url" {
  description = "Where AWS publishes the CA of this region's databases, for ConfigMap `rds-ca` (docs/runbooks/first-apply.md)."
  # GovCloud has a host of its own for both of its regions (RDS user guide, "Certificate bundles by AWS Region").
  value = "https://truststore.pki.${startswith(var.region, "us-gov-") ? "us-gov-west-1." : ""}rds.amazonaws.com/${var.region}/${var.region}-bundle.pem"
}

output "nat_addresses" {
  description = "Public addresses that the cluster's traffic leaves by, for allow lists elsewhere."
  value       = module.network.nat_addresses
}

output "ci" {
  description = "What GitHub workflows need: region, repositories, roles by purpose, and the signing key."
  value = {
    region             = var.region
    repositories       = module.registry.repository_urls
    role_arns          = module.identity.github_role_arns
    signing_key        = module.registry.signing_key_uri
    signing_public_key = module.registry.signing_public_key
  }
}

output "mirrors" {
  description = "Repositories that public images are copied to by hand, by their public names (docs/runbooks/private.md)."
  value       = module.registry.mirror_urls
}

output "helm_values" {
  description = "Values for charts/sluice as YAML: database, ServiceAccounts, image repository, network policies."
  value       = module.handover.helm_values
}

output "argocd_cluster_secret" {
  description = "Secret for Argo CD as YAML: labels and annotations that ApplicationSets read (handover.schema.json). Holds no credential."
  value       = module.handover.argocd_cluster_secret
}

output "cluster_manifests" {
  description = "With auto mode, what it leaves to its user, as YAML: the ConfigMap by which NetworkPolicies are enforced, StorageClass and IngressClass. Else empty."
  value       = module.handover.cluster_manifests
}

output "argocd_bootstrap" {
  description = "The one command after the first apply: installs Argo CD, tells it of this cluster and of the repository in `gitops`. Run it in this folder."
  value = join(" && ", concat(
    ["aws eks update-kubeconfig --region ${var.region} --name ${module.cluster.name} --alias ${module.cluster.name}"],
    var.compute_mode == "auto" ? ["terraform output -raw cluster_manifests | kubectl apply -f -"] : [],
    ["terraform output -raw argocd_cluster_secret | ../argocd/bootstrap.sh"],
  ))
}

output "monthly_estimate" {
  description = "US dollars a month by part, without traffic, from the list prices of costs.tf."
  value       = local.monthly_estimate
}
