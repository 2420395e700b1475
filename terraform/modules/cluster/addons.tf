# Auto mode brings networking, DNS, storage and the identity agent along; only metrics-server is left to install.

locals {
  before_nodes = local.auto ? {} : {
    eks-pod-identity-agent = null
    kube-proxy             = null
    vpc-cni = jsonencode({
      enableNetworkPolicy = "true"
      env                 = { ENABLE_PREFIX_DELEGATION = "true", WARM_PREFIX_TARGET = "1" }
    })
  }
  # Node repair acts on what the monitoring agent sees; alone it knows only that a kubelet is silent (EKS user guide, "Node health").
  after_nodes = merge({ metrics-server = null }, local.auto ? {} : {
    aws-ebs-csi-driver        = jsonencode({ controller = { extraVolumeTags = local.made_tags } })
    coredns                   = null
    eks-node-monitoring-agent = null
  })

  addon_roles = local.auto ? {} : {
    vpc-cni            = { service_account = "aws-node", managed_policy = "AmazonEKS_CNI_Policy" }
    aws-ebs-csi-driver = { service_account = "ebs-csi-controller-sa", managed_policy = "service-role/AmazonEBSCSIDriverPolicy" }
  }

  cluster = {
    name              = aws_eks_cluster.this.name
    arn               = local.arn
    workload_identity = var.workload_identity
    oidc_provider_arn = one(aws_iam_openid_connect_provider.this[*].arn)
  }
}

data "aws_eks_addon_version" "this" {
  for_each = toset([for name in concat(keys(local.before_nodes), keys(local.after_nodes)) : name if !contains(keys(var.addon_versions), name)])

  addon_name         = each.key
  kubernetes_version = var.kubernetes_version
}

locals {
  addon_versions = merge(var.addon_versions, { for name, found in data.aws_eks_addon_version.this : name => found.version })
}

module "addon_role" {
  source   = "../workload_role"
  for_each = local.addon_roles

  name                     = "${var.name}-${each.key}"
  account                  = var.account
  cluster                  = local.cluster
  namespace                = "kube-system"
  service_account          = each.value.service_account
  managed_policy           = each.value.managed_policy
  permissions_boundary_arn = var.permissions_boundary_arn
}

resource "aws_eks_addon" "before_nodes" {
  for_each = local.before_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = local.addon_versions[each.key]
  configuration_values        = each.value
  service_account_role_arn    = local.addon_role_arns[each.key]
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  # Credentials go by association, which nothing above refers to.
  depends_on = [module.addon_role]
}

# These are deployments: without a node they would be degraded until they time out.
resource "aws_eks_addon" "after_nodes" {
  for_each = local.after_nodes

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = local.addon_versions[each.key]
  configuration_values        = each.value
  service_account_role_arn    = local.addon_role_arns[each.key]
  resolve_conflicts_on_create = "OVERWRITE"
  resolve_conflicts_on_update = "OVERWRITE"

  depends_on = [aws_eks_node_group.this, module.addon_role]
}

locals {
  # With Pod Identity the association binds role and ServiceAccount; the add-on needs nothing.
  addon_role_arns = {
    for name in concat(keys(local.before_nodes), keys(local.after_nodes)) :
    name => var.workload_identity == "irsa" ? try(module.addon_role[name].arn, null) : null
  }
}
