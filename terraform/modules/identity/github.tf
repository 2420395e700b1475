# One role per purpose. A workflow proves who it is by GitHub's token; the trust names audience, repository id and subject exactly.

data "aws_iam_openid_connect_provider" "github" {
  count = var.github == null ? 0 : 1

  # Made once per account by terraform/bootstrap.
  url = "https://${local.github_issuer}"
}

locals {
  github_issuer = "token.actions.githubusercontent.com"

  # Repositories made, renamed or moved after July 2026 send the second form, with ids that no other repository can ever have (GitHub docs,
  # "OpenID Connect reference"); older ones send the first.
  subject_prefixes = var.github == null ? [] : [
    "repo:${var.github.owner}/${var.github.repository}",
    "repo:${var.github.owner}@${var.github.owner_id}/${var.github.repository}@${var.github.repository_id}",
  ]

  purposes = var.github == null ? {} : {
    push = { context = var.github.contexts.push, policy = data.aws_iam_policy_document.push.json }
    sign = { context = var.github.contexts.sign, policy = data.aws_iam_policy_document.sign.json }
  }
}

data "aws_iam_policy_document" "github_trust" {
  for_each = local.purposes

  statement {
    sid     = "GitHubActions"
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [data.aws_iam_openid_connect_provider.github[0].arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:sub"
      values   = [for prefix in local.subject_prefixes : "${prefix}:${each.value.context}"]
    }

    # A name that was given up and taken by somebody else still sends the first form; its id is another one.
    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:repository_id"
      values   = [tostring(var.github.repository_id)]
    }
  }
}

resource "aws_iam_role" "github" {
  for_each = local.purposes

  name                 = "${var.name}-github-${each.key}"
  description          = "GitHub Actions of ${var.github.owner}/${var.github.repository}: ${each.key}"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "github" {
  for_each = local.purposes

  name   = each.key
  role   = aws_iam_role.github[each.key].id
  policy = each.value.policy
}

# ECR knows no resource for this one action (Service Authorization Reference, "Actions defined by Amazon ECR").
data "aws_iam_policy_document" "registry_login" {
  statement {
    sid       = "LogIn"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }
}

data "aws_iam_policy_document" "pull" {
  source_policy_documents = [data.aws_iam_policy_document.registry_login.json]

  statement {
    sid = "Pull"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListImages",
    ]
    resources = var.repository_arns
  }
}

data "aws_iam_policy_document" "push" {
  source_policy_documents = [data.aws_iam_policy_document.registry_login.json]

  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
    ]
    resources = var.repository_arns
  }
}

# A signature is a small artifact beside the image.
data "aws_iam_policy_document" "sign" {
  source_policy_documents = [data.aws_iam_policy_document.push.json]

  statement {
    sid       = "Sign"
    actions   = ["kms:DescribeKey", "kms:GetPublicKey", "kms:Sign"]
    resources = [var.signing_key_arn]
  }
}
