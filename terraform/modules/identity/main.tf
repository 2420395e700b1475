# Roles of ServiceAccounts. `sluice-operator` has none: it speaks to Kubernetes only.

locals {
  policies = merge(
    {
      service                  = data.aws_iam_policy_document.service.json
      migrate                  = data.aws_iam_policy_document.migrate.json
      image_updater            = data.aws_iam_policy_document.pull.json
      load_balancer_controller = data.aws_iam_policy_document.load_balancer_controller.json
      cluster_autoscaler       = data.aws_iam_policy_document.cluster_autoscaler.json
    },
    length(var.zone_ids) > 0 ? { external_dns = data.aws_iam_policy_document.external_dns.json } : {},
  )
}

module "workload" {
  source   = "../workload_role"
  for_each = { for key, account in var.service_accounts : key => account if contains(keys(local.policies), key) }

  name                     = "${var.name}-${replace(each.key, "_", "-")}"
  account                  = var.account
  cluster                  = var.cluster
  namespace                = each.value.namespace
  service_account          = each.value.name
  policy                   = local.policies[each.key]
  permissions_boundary_arn = var.permissions_boundary_arn
}

# The service holds no secret of the database at all: it signs its own login.
data "aws_iam_policy_document" "service" {
  statement {
    sid     = "LogInToTheDatabase"
    actions = ["rds-db:connect"]
    resources = [
      "arn:${var.account.partition}:rds-db:${var.account.region}:${var.account.id}:dbuser:${var.database.resource_id}/sluice_app",
    ]
  }
}

data "aws_iam_policy_document" "migrate" {
  statement {
    sid       = "ReadTheOwnersPassword"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.database.owner_secret_arn]
  }

  statement {
    sid       = "DecryptIt"
    actions   = ["kms:Decrypt"]
    resources = [var.database.key_arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["secretsmanager.${var.account.region}.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "external_dns" {
  statement {
    sid       = "WriteRecords"
    actions   = ["route53:ChangeResourceRecordSets", "route53:ListResourceRecordSets", "route53:ListTagsForResources"]
    resources = [for id in var.zone_ids : "arn:${var.account.partition}:route53:::hostedzone/${id}"]
  }

  statement {
    sid       = "FindZones"
    actions   = ["route53:ListHostedZones"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "cluster_autoscaler" {
  statement {
    sid = "Look"
    actions = [
      "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances", "autoscaling:DescribeLaunchConfigurations",
      "autoscaling:DescribeScalingActivities", "autoscaling:DescribeTags", "ec2:DescribeImages", "ec2:DescribeInstanceTypes",
      "ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "LookAtNodeGroups"
    actions   = ["eks:DescribeNodegroup"]
    resources = ["arn:${var.account.partition}:eks:${var.account.region}:${var.account.id}:nodegroup/${var.cluster.name}/*"]
  }

  # EKS tags the groups of its node groups so.
  statement {
    sid       = "ScaleThisCluster"
    actions   = ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"]
    resources = ["arn:${var.account.partition}:autoscaling:${var.account.region}:${var.account.id}:autoScalingGroup:*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/k8s.io/cluster-autoscaler/${var.cluster.name}"
      values   = ["owned"]
    }
  }
}
