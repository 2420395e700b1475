# Two environments in one account: prod makes the registry, dev pulls the same images by their digest. Nothing has the same name twice.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

locals {
  account = {
    id        = data.aws_caller_identity.current.account_id
    partition = data.aws_partition.current.partition
    region    = var.region
  }
  environments = { dev = "10.1.0.0/16", prod = "10.2.0.0/16" }
}

module "registry" {
  source = "../../modules/registry"

  name    = "sluice-prod"
  account = local.account
}

module "registry_of_dev" {
  source = "../../modules/registry"

  name      = "sluice-dev"
  account   = local.account
  shared_by = { name = "sluice-prod", account_id = local.account.id }

  depends_on = [module.registry]
}

module "network" {
  source   = "../../modules/network"
  for_each = local.environments

  name               = "sluice-${each.key}"
  account            = local.account
  cidr               = each.value
  availability_zones = var.availability_zones
}

module "cluster" {
  source   = "../../modules/cluster"
  for_each = local.environments

  name               = "sluice-${each.key}"
  account            = local.account
  kubernetes_version = "1.35"
  subnet_ids         = module.network[each.key].private_subnet_ids
  node_groups        = { general = { instance_types = ["t4g.large"] } }
  access             = { admins = { principal_arn = var.admin_role_arn, policy = "AmazonEKSClusterAdminPolicy" } }
}

module "database" {
  source   = "../../modules/database"
  for_each = local.environments

  name                     = "sluice-${each.key}"
  account                  = local.account
  vpc_id                   = module.network[each.key].vpc_id
  subnet_ids               = module.network[each.key].data_subnet_ids
  client_security_group_id = module.cluster[each.key].security_group_id
  multi_az                 = each.key == "prod"
}
