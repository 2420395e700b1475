data "aws_partition" "current" {}

data "aws_availability_zones" "usable" {
  # checkov:skip=CKV_AWS_394:only the first az_count names are taken, new zones of a region come later in the alphabet, and prod names its zones
  state = "available"
  # EKS puts no control plane there (EKS user guide, "Amazon EKS networking requirements").
  exclude_zone_ids = ["cac1-az3", "use1-az3", "usw1-az2"]

  # Neither local zones nor those that an account must opt in to.
  filter {
    name   = "zone-type"
    values = ["availability-zone"]
  }

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

# CloudWatch writes with this key for log groups of this account and of this environment's names only.
data "aws_iam_policy_document" "logs_key" {
  statement {
    sid = "CloudWatchLogs"
    actions = [
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom",
      "kms:ReEncryptTo",
    ]
    resources = ["*"]

    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [for path in ["eks/${local.name}/*", "rds/instance/${local.name}/*", "vpc/${local.name}/*"] :
      "arn:${local.account.partition}:logs:${var.region}:${var.account_id}:log-group:/aws/${path}"]
    }
  }
}

module "logs_key" {
  source = "./modules/key"

  name                 = "${local.name}-logs"
  description          = "Logs of ${local.name}"
  account              = local.account
  deletion_window_days = var.key_deletion_window_days
  policies             = [data.aws_iam_policy_document.logs_key.json]
}

module "network" {
  source = "./modules/network"

  name                     = local.name
  account                  = local.account
  cidr                     = var.vpc_cidr
  availability_zones       = local.availability_zones
  nat_mode                 = var.nat_mode
  interface_endpoints      = local.interface_endpoints
  dynamodb_endpoint        = var.dynamodb != null
  log_retention_days       = var.log_retention_days
  log_key_arn              = module.logs_key.arn
  permissions_boundary_arn = var.permissions_boundary_arn
}

module "registry" {
  source = "./modules/registry"

  name                     = local.name
  account                  = local.account
  repositories             = var.repositories
  retention                = var.image_retention
  force_delete             = var.repository_force_delete
  pull_through_cache       = local.pull_through_cache
  mirrored_repositories    = local.mirrored_repositories
  key_deletion_window_days = var.key_deletion_window_days
  shared_by                = local.registry_owner
  reader_account_ids       = var.registry_reader_account_ids
}

module "cluster" {
  source = "./modules/cluster"

  name                     = local.name
  account                  = local.account
  kubernetes_version       = var.kubernetes_version
  subnet_ids               = module.network.private_subnet_ids
  control_plane_subnet_ids = local.control_plane_subnet_ids
  service_cidr             = var.cluster_service_cidr
  public_access_cidrs      = var.cluster_public_access_cidrs
  log_types                = var.cluster_log_types
  access = { for name, one in var.cluster_access : name => merge(one, {
    policy = one.policy != null || length(one.kubernetes_groups) > 0 ? one.policy : "AmazonEKSViewPolicy"
  }) }
  compute_mode = var.compute_mode
  node_groups = {
    for name, group in var.node_groups : name => merge(group, { architecture = local.node_architectures[name] })
  }
  workload_identity        = var.workload_identity
  addon_versions           = var.addon_versions
  cached_repository_arns   = module.registry.cached_repository_arns
  log_retention_days       = var.log_retention_days
  log_key_arn              = module.logs_key.arn
  key_deletion_window_days = var.key_deletion_window_days
  permissions_boundary_arn = var.permissions_boundary_arn
}

module "database" {
  source = "./modules/database"

  name                     = local.name
  account                  = local.account
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.data_subnet_ids
  client_security_group_id = module.cluster.security_group_id
  database_name            = var.database_name
  engine_version           = var.database_engine_version
  instance_class           = var.database_instance_class
  max_connections          = local.database_max_connections
  storage                  = { initial_gib = var.database_storage_gib, max_gib = var.database_max_storage_gib }
  multi_az                 = var.database_multi_az
  backup                   = { retention_days = var.database_backup_retention_days, window = var.database_backup_window }
  maintenance_window       = var.database_maintenance_window
  apply_immediately        = var.database_apply_immediately
  monitoring_interval      = var.database_monitoring_interval
  deletion_protection      = var.database_deletion_protection
  skip_final_snapshot      = var.database_skip_final_snapshot
  alarm_topic_arn          = var.database_alarm_topic_arn
  backup_plan              = var.database_backup_plan
  log_retention_days       = var.log_retention_days
  log_key_arn              = module.logs_key.arn
  key_deletion_window_days = var.key_deletion_window_days
  permissions_boundary_arn = var.permissions_boundary_arn
}

module "identity" {
  source = "./modules/identity"

  name             = local.name
  account          = local.account
  cluster          = module.cluster.identity
  service_accounts = local.service_accounts
  github = var.github == null ? null : {
    owner         = var.github.owner
    owner_id      = var.github.owner_id
    repository    = var.github.repository
    repository_id = var.github.repository_id
    contexts      = local.github_contexts
  }
  repository_arns = module.registry.repository_arns
  signing_key_arn = module.registry.signing_key_arn
  database = {
    resource_id      = module.database.resource_id
    owner_secret_arn = module.database.owner_secret_arn
    key_arn          = module.database.key_arn
  }
  vpc_arn                   = module.network.vpc_arn
  cluster_security_group_id = module.cluster.security_group_id
  zone_ids                  = var.route53_zone_ids
  permissions_boundary_arn  = var.permissions_boundary_arn
}

module "queue" {
  source = "./modules/queue"
  count  = var.queue == null ? 0 : 1

  name                   = local.name
  account                = local.account
  cluster                = module.cluster.identity
  api_role_name          = module.identity.workload_role_names["service"]
  worker_service_account = local.service_accounts["worker"]
  # The worker logs in to the database as the service does.
  worker_policies          = var.dynamodb == null ? [module.identity.service_policy] : []
  scaler_service_account   = var.queue.scaler_service_account
  max_receive_count        = var.queue.max_receive_count
  key_deletion_window_days = var.key_deletion_window_days
  permissions_boundary_arn = var.permissions_boundary_arn
}

module "dynamodb" {
  source = "./modules/dynamodb"
  count  = var.dynamodb == null ? 0 : 1

  name    = local.name
  account = local.account
  service_role_names = merge(
    { service = module.identity.workload_role_names["service"] },
    var.queue == null ? {} : { worker = one(module.queue[*].worker_role_name) },
  )
  migrate_role_name        = module.identity.workload_role_names["migrate"]
  deletion_protection      = var.dynamodb.deletion_protection
  key_deletion_window_days = var.key_deletion_window_days
}

module "handover" {
  source = "./modules/handover"

  account     = local.account
  environment = var.environment
  tags        = local.tags
  cluster = {
    name              = module.cluster.name
    version           = module.cluster.version
    endpoint          = module.cluster.endpoint
    security_group_id = module.cluster.security_group_id
    compute_mode      = var.compute_mode
    workload_identity = var.workload_identity
    service_cidr      = var.cluster_service_cidr
    architectures     = local.architectures
    key_arn           = module.cluster.key_arn
  }
  network = {
    vpc_id             = module.network.vpc_id
    cidr               = var.vpc_cidr
    public_subnet_ids  = module.network.public_subnet_ids
    private_subnet_ids = module.network.private_subnet_ids
    data_subnet_cidrs  = module.network.data_subnet_cidrs
    # DynamoDB's gateway endpoint leads to DynamoDB's public addresses.
    aws_cidr = var.nat_mode == "none" && var.dynamodb == null ? var.vpc_cidr : null
  }
  registry = {
    repository_url     = module.registry.repository_urls[var.repositories[0]]
    cache_prefixes     = module.registry.cache_prefixes
    signing_public_key = module.registry.signing_public_key
  }
  database = {
    host             = module.database.host
    port             = module.database.port
    name             = module.database.name
    owner_secret_arn = module.database.owner_secret_arn
    max_connections  = local.database_max_connections
  }
  queue_url        = one(module.queue[*].queue_url)
  dynamodb         = var.dynamodb == null ? null : { table = one(module.dynamodb[*].table), shards = var.dynamodb.shards }
  service_accounts = local.service_accounts
  role_arns = merge(
    module.identity.workload_role_arns, var.queue == null ? {} : { worker = one(module.queue[*].worker_role_arn) },
  )
  zone_ids = var.route53_zone_ids
  gitops   = var.gitops
}
