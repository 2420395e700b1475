data "aws_iam_policy_document" "cluster_trust" {
  statement {
    # Auto mode tags what it makes with the session's tags.
    actions = local.auto ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account.id]
    }
  }
}

resource "aws_iam_role" "cluster" {
  name                 = "${var.name}-cluster"
  description          = "Control plane of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.cluster_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "cluster" {
  for_each = toset(local.cluster_policies)

  role       = aws_iam_role.cluster.name
  policy_arn = "${local.policy_arns}/${each.key}"
}

# The API server encrypts what it stores with the cluster's key.
data "aws_iam_policy_document" "cluster_key" {
  statement {
    sid       = "EncryptKubernetesData"
    actions   = ["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:ListGrants"]
    resources = [module.key.arn]
  }
}

resource "aws_iam_role_policy" "cluster_key" {
  name   = "cluster-key"
  role   = aws_iam_role.cluster.id
  policy = data.aws_iam_policy_document.cluster_key.json
}

data "aws_iam_policy_document" "node_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "node" {
  name                 = "${var.name}-node"
  description          = "Nodes of ${var.name}; pods have roles of their own"
  assume_role_policy   = data.aws_iam_policy_document.node_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "node" {
  for_each = toset([local.auto ? "AmazonEKSWorkerNodeMinimalPolicy" : "AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.node.name
  policy_arn = "${local.policy_arns}/${each.key}"
}

# The first pull of an image through the cache makes its repository.
data "aws_iam_policy_document" "pull_through" {
  statement {
    sid       = "PullThroughTheCache"
    actions   = ["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"]
    resources = var.cached_repository_arns
  }
}

resource "aws_iam_role_policy" "pull_through" {
  count = length(var.cached_repository_arns) > 0 ? 1 : 0

  name   = "pull-through-cache"
  role   = aws_iam_role.node.id
  policy = data.aws_iam_policy_document.pull_through.json
}
