# A cluster that is there already, and no PostgreSQL: events wait in SQS and are stored in DynamoDB. The cluster needs the EKS Pod Identity Agent;
# its VPC reaches DynamoDB and SQS by NAT or by endpoints of its own.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_eks_cluster" "this" {
  name = var.cluster_name
}

locals {
  account = {
    id        = data.aws_caller_identity.current.account_id
    partition = data.aws_partition.current.partition
    region    = var.region
  }
  cluster = { name = data.aws_eks_cluster.this.name, arn = data.aws_eks_cluster.this.arn, workload_identity = "pod_identity" }
  name    = "sluice-dev"
}

# The service reads and writes the table and sends to the queue: both modules add their policy to this role.
module "service" {
  source = "../../modules/workload_role"

  name            = "${local.name}-service"
  account         = local.account
  cluster         = local.cluster
  namespace       = "sluice"
  service_account = "sluice"
  policy          = data.aws_iam_policy_document.itself.json
}

module "migrate" {
  source = "../../modules/workload_role"

  name            = "${local.name}-migrate"
  account         = local.account
  cluster         = local.cluster
  namespace       = "sluice"
  service_account = "sluice-migrate"
  policy          = data.aws_iam_policy_document.itself.json
}

# What every role may do anyway.
data "aws_iam_policy_document" "itself" {
  statement {
    sid       = "TellWhoItIs"
    actions   = ["sts:GetCallerIdentity"]
    resources = ["*"]
  }
}

module "queue" {
  source = "../../modules/queue"

  name                   = local.name
  account                = local.account
  cluster                = local.cluster
  api_role_name          = module.service.name
  worker_service_account = { namespace = "sluice", name = "sluice-worker" }
}

module "dynamodb" {
  source = "../../modules/dynamodb"

  name               = local.name
  account            = local.account
  service_role_names = { service = module.service.name, worker = module.queue.worker_role_name }
  migrate_role_name  = module.migrate.name
}
