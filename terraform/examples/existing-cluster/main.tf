# A cluster and a VPC that are there already: Sluice gets a registry, a database beside the cluster, roles and values for the chart. The cluster
# needs the EKS Pod Identity Agent.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account = {
    id        = data.aws_caller_identity.current.account_id
    partition = data.aws_partition.current.partition
    region    = var.region
  }
  name = "sluice-dev"
  service_accounts = {
    service = { namespace = "sluice", name = "sluice" }
    migrate = { namespace = "sluice", name = "sluice-migrate" }
  }
}

data "aws_eks_cluster" "this" {
  name = var.cluster_name
}

data "aws_subnet" "data" {
  for_each = toset(var.data_subnet_ids)

  id = each.key
}

locals {
  network = data.aws_eks_cluster.this.vpc_config[0]
}

module "registry" {
  source = "../../modules/registry"

  name    = local.name
  account = local.account
}

module "database" {
  source = "../../modules/database"

  name                     = local.name
  account                  = local.account
  vpc_id                   = local.network.vpc_id
  subnet_ids               = var.data_subnet_ids
  client_security_group_id = local.network.cluster_security_group_id
}

module "identity" {
  source = "../../modules/identity"

  name                      = local.name
  account                   = local.account
  cluster                   = { name = data.aws_eks_cluster.this.name, arn = data.aws_eks_cluster.this.arn, workload_identity = "pod_identity" }
  service_accounts          = local.service_accounts
  repository_arns           = module.registry.repository_arns
  signing_key_arn           = module.registry.signing_key_arn
  database                  = { resource_id = module.database.resource_id, owner_secret_arn = module.database.owner_secret_arn, key_arn = module.database.key_arn }
  cluster_security_group_id = local.network.cluster_security_group_id
  vpc_arn                   = "arn:${local.account.partition}:ec2:${var.region}:${local.account.id}:vpc/${local.network.vpc_id}"
}

module "handover" {
  source = "../../modules/handover"

  account     = local.account
  environment = "dev"
  cluster = {
    name              = data.aws_eks_cluster.this.name
    version           = data.aws_eks_cluster.this.version
    endpoint          = data.aws_eks_cluster.this.endpoint
    security_group_id = local.network.cluster_security_group_id
    compute_mode      = "managed"
    workload_identity = "pod_identity"
    architectures     = var.node_architectures
  }
  network = {
    vpc_id             = local.network.vpc_id
    cidr               = var.vpc_cidr
    public_subnet_ids  = []
    private_subnet_ids = local.network.subnet_ids
    data_subnet_cidrs  = [for subnet in data.aws_subnet.data : subnet.cidr_block]
    aws_cidr           = null
  }
  registry = {
    repository_url     = module.registry.repository_urls["sluice"]
    cache_prefixes     = module.registry.cache_prefixes
    signing_public_key = module.registry.signing_public_key
  }
  database = {
    host             = module.database.host
    port             = module.database.port
    name             = module.database.name
    owner_secret_arn = module.database.owner_secret_arn
    max_connections  = 400
  }
  service_accounts = local.service_accounts
  role_arns        = module.identity.workload_role_arns
}
