# Roles by which GitHub's workflows run Terraform itself: plan reads, apply may do what Terraform does here, and only from its environment,
# whose reviewers decide.
locals {
  github_issuer = "token.actions.githubusercontent.com"
  # Repositories made, renamed or moved after July 2026 send the form with ids (GitHub docs, "OpenID Connect reference").
  github_subjects = var.github == null ? [] : [
    "repo:${var.github.owner}/${var.github.repository}",
    "repo:${var.github.owner}@${var.github.owner_id}/${var.github.repository}@${var.github.repository_id}",
  ]
  terraform_roles = var.github == null ? {} : {
    plan = { context = var.github.plan_context, policy = "ReadOnlyAccess", session = 3600 }
    # Seconds: an upgrade of control plane, nodes and database takes longer than an hour, and with the session ends the right to write the state.
    apply = { context = var.github.apply_context, policy = "AdministratorAccess", session = 14400 }
  }
}

data "aws_iam_policy_document" "github_trust" {
  # checkov:skip=CKV_AWS_358:each subject is one repository's, exactly; from pull requests there is only the role that reads
  for_each = local.terraform_roles

  statement {
    sid     = "GitHubActions"
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = ["arn:${data.aws_partition.current.partition}:iam::${var.account_id}:oidc-provider/${local.github_issuer}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:sub"
      values   = [for subject in local.github_subjects : "${subject}:${each.value.context}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.github_issuer}:repository_id"
      values   = [tostring(var.github.repository_id)]
    }
  }
}

resource "aws_iam_role" "terraform" {
  for_each = local.terraform_roles

  name                 = "${var.project}-terraform-${each.key}"
  description          = "Terraform ${each.key} by GitHub Actions of ${var.github.owner}/${var.github.repository}"
  assume_role_policy   = data.aws_iam_policy_document.github_trust[each.key].json
  max_session_duration = each.value.session
  permissions_boundary = var.permissions_boundary_arn

  depends_on = [aws_iam_openid_connect_provider.github]
}

resource "aws_iam_role_policy_attachment" "terraform" {
  # checkov:skip=CKV_AWS_274:apply makes roles, keys and networks; what it may do beyond that is bounded by permissions_boundary_arn
  for_each = local.terraform_roles

  role       = aws_iam_role.terraform[each.key].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/${each.value.policy}"
}

# A plan reads the state, by its key, and takes the lock. Reading everything else is ReadOnlyAccess's.
data "aws_iam_policy_document" "plan" {
  statement {
    sid       = "TakeTheLock"
    actions   = ["s3:DeleteObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.state.arn}/*.tflock"]
  }

  statement {
    sid       = "UseTheKeyOfStates"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [aws_kms_key.state.arn]
  }
}

resource "aws_iam_role_policy" "plan" {
  count = var.github == null ? 0 : 1

  name   = "state"
  role   = aws_iam_role.terraform["plan"].id
  policy = data.aws_iam_policy_document.plan.json
}
