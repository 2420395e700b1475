# Everything that the root makes, from its modules: for those who have a root of their own.

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

module "network" {
  source = "../../modules/network"

  name               = local.name
  account            = local.account
  availability_zones = var.availability_zones
  nat_mode           = "single"
}

module "cluster" {
  source = "../../modules/cluster"

  name                   = local.name
  account                = local.account
  kubernetes_version     = "1.35"
  subnet_ids             = module.network.private_subnet_ids
  node_groups            = { general = { instance_types = ["t4g.large"] } }
  access                 = { admins = { principal_arn = var.admin_role_arn, policy = "AmazonEKSClusterAdminPolicy" } }
  cached_repository_arns = module.registry.cached_repository_arns
}

module "registry" {
  source = "../../modules/registry"

  name               = local.name
  account            = local.account
  pull_through_cache = ["ecr-public", "k8s", "quay"]
}

module "database" {
  source = "../../modules/database"

  name                     = local.name
  account                  = local.account
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.data_subnet_ids
  client_security_group_id = module.cluster.security_group_id
}

module "identity" {
  source = "../../modules/identity"

  name                      = local.name
  account                   = local.account
  cluster                   = module.cluster.identity
  service_accounts          = local.service_accounts
  repository_arns           = module.registry.repository_arns
  signing_key_arn           = module.registry.signing_key_arn
  database                  = { resource_id = module.database.resource_id, owner_secret_arn = module.database.owner_secret_arn, key_arn = module.database.key_arn }
  cluster_security_group_id = module.cluster.security_group_id
  vpc_arn                   = module.network.vpc_arn
}

module "handover" {
  source = "../../modules/handover"

  account     = local.account
  environment = "dev"
  cluster = {
    name              = module.cluster.name
    version           = module.cluster.version
    endpoint          = module.cluster.endpoint
    security_group_id = module.cluster.security_group_id
    compute_mode      = "managed"
    workload_identity = "pod_identity"
    architectures     = ["arm64"]
  }
  network = {
    vpc_id             = module.network.vpc_id
    cidr               = "10.0.0.0/16"
    public_subnet_ids  = module.network.public_subnet_ids
    private_subnet_ids = module.network.private_subnet_ids
    data_subnet_cidrs  = module.network.data_subnet_cidrs
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
