# One customer managed key, its alias, and who may use it.

data "aws_iam_policy_document" "this" {
  # checkov:skip=CKV_AWS_109:in a key policy "*" is this key; the account keeps the right to manage its own key
  # checkov:skip=CKV_AWS_111:in a key policy "*" is this key; who may use it is said by the statements of `policies`
  # checkov:skip=CKV_AWS_356:in a key policy "*" is this key
  source_policy_documents = var.policies

  # Without this statement nobody could ever manage the key again (KMS developer guide, "Default key policy").
  statement {
    sid       = "AccountManagesKey"
    actions   = ["kms:*"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.account.partition}:iam::${var.account.id}:root"]
    }
  }
}

resource "aws_kms_key" "this" {
  description              = var.description
  customer_master_key_spec = var.signing ? "ECC_NIST_P256" : "SYMMETRIC_DEFAULT"
  key_usage                = var.signing ? "SIGN_VERIFY" : "ENCRYPT_DECRYPT"
  deletion_window_in_days  = var.deletion_window_days
  # KMS rotates no key pairs; docs/runbooks/rotate.md tells how to change one.
  enable_key_rotation = var.signing ? false : true
  policy              = data.aws_iam_policy_document.this.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}
