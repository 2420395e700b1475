# The AWS Load Balancer Controller for Ingress on application load balancers: install it with enableShield, enableWaf and enableWafv2 false.
# It tags what it makes with its cluster's name, and may change only what carries that tag.

locals {
  load_balancing = "arn:${var.account.partition}:elasticloadbalancing:${var.account.region}:${var.account.id}"
  ec2            = "arn:${var.account.partition}:ec2:${var.account.region}:${var.account.id}"
  owner_tag      = "elbv2.k8s.aws/cluster"
}

data "aws_iam_policy_document" "load_balancer_controller" {
  statement {
    sid = "Look"
    actions = [
      "acm:ListCertificates", "ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones", "ec2:DescribeInstances",
      "ec2:DescribeInternetGateways", "ec2:DescribeNetworkInterfaces", "ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets", "ec2:DescribeTags", "ec2:DescribeVpcPeeringConnections", "ec2:DescribeVpcs",
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

  # Security groups: made in this VPC with this cluster's tag, changed in this VPC, deleted with the tag.
  statement {
    sid       = "MakeSecurityGroupsInTheVpc"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = [var.vpc_arn]
  }

  statement {
    sid       = "MakeSecurityGroups"
    actions   = ["ec2:CreateSecurityGroup"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
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
    sid       = "ChangeOwnSecurityGroups"
    actions   = ["ec2:CreateTags", "ec2:DeleteSecurityGroup", "ec2:DeleteTags"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
  }

  # Also the cluster's own group, which lets the load balancer in and carries no tag of the controller.
  statement {
    sid       = "OpenPortsInTheVpc"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
    resources = ["${local.ec2}:security-group/*"]

    condition {
      test     = "ArnEquals"
      variable = "ec2:Vpc"
      values   = [var.vpc_arn]
    }
  }

  statement {
    sid     = "MakeWithTheTag"
    actions = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
    resources = [
      "${local.load_balancing}:loadbalancer/app/*", "${local.load_balancing}:targetgroup/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
  }

  # Tags come with the making.
  statement {
    sid     = "TagWhatIsMade"
    actions = ["elasticloadbalancing:AddTags"]
    resources = [
      "${local.load_balancing}:listener-rule/app/*", "${local.load_balancing}:listener/app/*", "${local.load_balancing}:loadbalancer/app/*",
      "${local.load_balancing}:targetgroup/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "elasticloadbalancing:CreateAction"
      values   = ["CreateListener", "CreateLoadBalancer", "CreateRule", "CreateTargetGroup"]
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
    resources = [
      "${local.load_balancing}:listener-rule/app/*", "${local.load_balancing}:listener/app/*", "${local.load_balancing}:loadbalancer/app/*",
      "${local.load_balancing}:targetgroup/*",
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.owner_tag}"
      values   = [var.cluster.name]
    }
  }
}
