# The role of one ServiceAccount: by Pod Identity, or by IRSA where the cluster was told so.

locals {
  pod_identity = var.cluster.workload_identity == "pod_identity"
  # arn:aws:iam::<account>:oidc-provider/<issuer without https://>
  issuer = local.pod_identity ? "" : split(":oidc-provider/", var.cluster.oidc_provider_arn)[1]
}

# The conditions are the session tags that Pod Identity sends (EKS user guide, "Create IAM role with trust policy required by EKS Pod
# Identity"): of this account, this cluster, this namespace and this ServiceAccount, and of nothing else.
data "aws_iam_policy_document" "pod_identity" {
  count = local.pod_identity ? 1 : 0

  statement {
    sid     = "PodIdentity"
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account.id]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-arn"
      values   = [var.cluster.arn]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-namespace"
      values   = [var.namespace]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/kubernetes-service-account"
      values   = [var.service_account]
    }
  }
}

data "aws_iam_policy_document" "irsa" {
  count = local.pod_identity ? 0 : 1

  statement {
    sid     = "ServiceAccountToken"
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.cluster.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:sub"
      values   = ["system:serviceaccount:${var.namespace}:${var.service_account}"]
    }
  }
}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "ServiceAccount ${var.namespace}/${var.service_account} of cluster ${var.cluster.name}"
  assume_role_policy   = one(concat(data.aws_iam_policy_document.pod_identity, data.aws_iam_policy_document.irsa)).json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy" "this" {
  count = var.managed_policy == null ? 1 : 0

  name   = var.service_account
  role   = aws_iam_role.this.id
  policy = var.policy
}

resource "aws_iam_role_policy_attachment" "this" {
  count = var.managed_policy == null ? 0 : 1

  role       = aws_iam_role.this.name
  policy_arn = "arn:${var.account.partition}:iam::aws:policy/${var.managed_policy}"
}

resource "aws_eks_pod_identity_association" "this" {
  count = local.pod_identity ? 1 : 0

  cluster_name    = var.cluster.name
  namespace       = var.namespace
  service_account = var.service_account
  role_arn        = aws_iam_role.this.arn

  # A pod that starts with the association finds the role complete.
  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.this]
}
