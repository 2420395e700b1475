# The AWS Load Balancer Controller for Ingress (application load balancers) and Service (network load balancers), without Shield and WAF:
# the hand-over's values turn them off.
# It tags what it makes with its cluster's name, and may change only what carries that tag.

locals {
  load_balancing = "arn:${var.account.partition}:elasticloadbalancing:${var.account.region}:${var.account.id}"
  ec2            = "arn:${var.account.partition}:ec2:${var.account.region}:${var.account.id}"
  owner_tag      = "elbv2.k8s.aws/cluster"

  load_balancer_parts = [
    "${local.load_balancing}:listener-rule/*", "${local.load_balancing}:listener/*", "${local.load_balancing}:loadbalancer/*",
    "${local.load_balancing}:targetgroup/*",
  ]
}

data "aws_iam_policy_document" "load_balancer_controller" {
  statement {
    sid = "Look"
    actions = [
      "acm:ListCertificates", "ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones", "ec2:DescribeInstances",
      "ec2:DescribeInternetGateways", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets", "ec2:DescribeTags", "ec2:DescribeVpcPeeringConnections", "ec2:DescribeVpcs",
      # Its 3.7.0 asks for it: AWS checks the quotas of security groups when a load balancer is made or gets others.
      "ec2:ValidateSecurityGroupQuotasForInterface",
      "elasticloadbalancing:DescribeCapacityReservation", "elasticloadbalancing:DescribeListenerAttributes",
      "elasticloadbalancing:DescribeListenerCertificates", "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeLoadBalancerAttributes", "elasticloadbalancing:DescribeLoadBalancers",
      "elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeSSLPolicies", "elasticloadbalancing:DescribeTags",
      "elasticloadbalancing:DescribeTargetGroupAttributes", "elasticloadbalancing:DescribeTargetGroups",
      "elasticloadbalancing:DescribeTargetHealth", "elasticloadbalancing:DescribeTrustStores",
    ]
    resources = ["*"]
  }

  statement {
    sid       = "LookAtCertificates"
    actions   = ["acm:DescribeCertificate"]
    resources = ["arn:${var.account.partition}:acm:${var.account.region}:${var.account.id}:certificate/*"]
  }

  statement {
    sid       = "LookAtSecurityGroupsOfTheVpc"
    actions   = ["ec2:GetSecurityGroupsForVpc"]
    resources = [var.vpc_arn]
  }

  # The first load balancer of an account needs the service's own role.
  statement {
    sid       = "ServiceLinkedRole"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["arn:${var.account.partition}:iam::${var.account.id}:role/aws-service-role/elasticloadbalancing.amazonaws.com/*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["elasticloadbalancing.amazonaws.com"]
    }
  }

  # Security groups: made in this VPC, tagged as this cluster's when they are made, changed and deleted with the tag.
  statement {
    sid       = "MakeSecurityGroupsInTheVpc"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = [var.vpc_arn, "${local.ec2}:security-group/*"]
  }

  statement {
    sid       = "TagNewSecurityGroups"
    actions   = ["ec2:CreateTags"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateSecurityGroup"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
  }

  statement {
    sid = "ChangeOwnSecurityGroups"
    actions = [
      "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateTags", "ec2:DeleteSecurityGroup", "ec2:DeleteTags", "ec2:RevokeSecurityGroupIngress",
    ]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
  }

  # The group of nodes and pods must let the load balancer in. No other: not the database's.
  statement {
    sid       = "OpenPortsOfTheCluster"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
    resources = ["${local.ec2}:security-group/${var.cluster_security_group_id}"]
  }

  statement {
    sid     = "MakeWithTheTag"
    actions = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
    resources = [
      "${local.load_balancing}:loadbalancer/app/*", "${local.load_balancing}:loadbalancer/net/*", "${local.load_balancing}:targetgroup/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
  }

  # Tags come with the making, and never onto something that is another cluster's.
  statement {
    sid       = "TagWhatIsMade"
    actions   = ["elasticloadbalancing:AddTags"]
    resources = local.load_balancer_parts

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }

    condition {
      test     = "Null"
      variable = "aws:ResourceTag/${local.owner_tag}"
      values   = ["true"]
    }
  }

  statement {
    sid = "ChangeOwn"
    actions = [
      "elasticloadbalancing:AddListenerCertificates", "elasticloadbalancing:AddTags", "elasticloadbalancing:CreateListener",
      "elasticloadbalancing:CreateRule", "elasticloadbalancing:DeleteListener", "elasticloadbalancing:DeleteLoadBalancer",
      "elasticloadbalancing:DeleteRule", "elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:DeregisterTargets",
      "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyListenerAttributes",
      "elasticloadbalancing:ModifyLoadBalancerAttributes", "elasticloadbalancing:ModifyRule", "elasticloadbalancing:ModifyTargetGroup",
      "elasticloadbalancing:ModifyTargetGroupAttributes", "elasticloadbalancing:RegisterTargets",
      "elasticloadbalancing:RemoveListenerCertificates", "elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetIpAddressType",
      "elasticloadbalancing:SetRulePriorities", "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
    ]
    resources = local.load_balancer_parts

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
  }
}
