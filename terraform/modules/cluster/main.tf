# The control plane: its key, log group, role and access entries. Nodes and add-ons have files of their own.

locals {
  auto = var.compute_mode == "auto"
  arn  = "arn:${var.account.partition}:eks:${var.account.region}:${var.account.id}:cluster/${var.name}"

  policy_arns = "arn:${var.account.partition}:iam::aws:policy"
  cluster_policies = concat(["AmazonEKSClusterPolicy"], local.auto ? [
    "AmazonEKSBlockStoragePolicy", "AmazonEKSComputePolicy", "AmazonEKSLoadBalancingPolicy", "AmazonEKSNetworkingPolicy",
  ] : [])
}

# Disks: as the key that AWS manages for EBS does it, every principal that may use EC2 here may use the key through EC2. No principal is named, because the
# role of EC2 Auto Scaling does not exist yet in an empty account.
data "aws_iam_policy_document" "disks" {
  statement {
    sid       = "DisksThroughEc2"
    actions   = ["kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["*"]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [var.account.id]
    }

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["ec2.${var.account.region}.amazonaws.com"]
    }
  }
}

module "key" {
  source = "../key"

  name                 = "${var.name}-cluster"
  description          = "Secrets of cluster ${var.name} and the disks of its nodes and volumes"
  account              = var.account
  deletion_window_days = var.key_deletion_window_days
  policies             = [data.aws_iam_policy_document.disks.json]
}

# Made before the cluster, which would otherwise make one without retention, and destroyed after it.
resource "aws_cloudwatch_log_group" "control_plane" {
  # checkov:skip=CKV_AWS_338:how long logs are kept is the environment's choice (log_retention_days); prod keeps a year
  name              = "/aws/eks/${var.name}/cluster"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_key_arn
}

resource "aws_eks_cluster" "this" {
  # checkov:skip=CKV_AWS_37:which logs are kept is the environment's choice (cluster_log_types); by default all
  name                          = var.name
  version                       = var.kubernetes_version
  role_arn                      = aws_iam_role.cluster.arn
  enabled_cluster_log_types     = var.log_types
  bootstrap_self_managed_addons = false

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  vpc_config {
    subnet_ids              = var.control_plane_subnet_ids == null ? var.subnet_ids : var.control_plane_subnet_ids
    endpoint_private_access = true
    endpoint_public_access  = length(var.public_access_cidrs) > 0
    public_access_cidrs     = length(var.public_access_cidrs) > 0 ? var.public_access_cidrs : null
  }

  kubernetes_network_config {
    ip_family         = "ipv4"
    service_ipv4_cidr = var.service_cidr

    dynamic "elastic_load_balancing" {
      for_each = local.auto ? [true] : []
      content {
        enabled = true
      }
    }
  }

  encryption_config {
    resources = ["secrets"]
    provider {
      key_arn = module.key.arn
    }
  }

  # Past its 14 months a version is upgraded by EKS instead of costing six times as much.
  upgrade_policy {
    support_type = "STANDARD"
  }

  # The three blocks of auto mode agree, or EKS refuses.
  dynamic "compute_config" {
    for_each = local.auto ? [true] : []
    content {
      enabled       = true
      node_pools    = ["general-purpose", "system"]
      node_role_arn = aws_iam_role.node.arn
    }
  }

  dynamic "storage_config" {
    for_each = local.auto ? [true] : []
    content {
      block_storage {
        enabled = true
      }
    }
  }

  # Rights first, and last to go: without them EKS leaves network interfaces behind.
  depends_on = [
    aws_cloudwatch_log_group.control_plane,
    aws_iam_role_policy.cluster_key,
    aws_iam_role_policy_attachment.cluster,
    aws_iam_role_policy_attachment.node,
  ]
}

resource "aws_eks_access_entry" "this" {
  for_each = var.access

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value.principal_arn
  # Bound by RoleBindings in the cluster: EKS's own policies know no custom kinds, as Sluice's ApiKey and KeySet.
  kubernetes_groups = each.value.kubernetes_groups
}

resource "aws_eks_access_policy_association" "this" {
  for_each = { for name, one in var.access : name => one if one.policy != null }

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.this[each.key].principal_arn
  policy_arn    = startswith(each.value.policy, "arn:") ? each.value.policy : "arn:${var.account.partition}:eks::aws:cluster-access-policy/${each.value.policy}"

  access_scope {
    type       = length(each.value.namespaces) > 0 ? "namespace" : "cluster"
    namespaces = each.value.namespaces
  }
}

# Without a thumbprint: AWS trusts the issuer's own certificate authority.
resource "aws_iam_openid_connect_provider" "this" {
  count = var.workload_identity == "irsa" ? 1 : 0

  url            = aws_eks_cluster.this.identity[0].oidc[0].issuer
  client_id_list = ["sts.amazonaws.com"]
}
