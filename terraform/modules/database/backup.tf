# Copies that outlive the instance, its automated backups and, with copy_to_vault_arn, the region or the account.
locals {
  backups = var.backup_plan == null ? [] : [var.backup_plan]
  # Of the vault that gets copies; empty: none does.
  copies_account = try(split(":", var.backup_plan.copy_to_vault_arn)[4], "")
}

resource "aws_backup_vault" "this" {
  count = length(local.backups)

  name        = "${var.name}-database"
  kms_key_arn = module.key.arn
  # AWS deletes no vault that holds recovery points. They go with it only where no last snapshot is wanted either.
  force_destroy = var.skip_final_snapshot
}

resource "aws_backup_plan" "this" {
  count = length(local.backups)

  name = "${var.name}-database"

  rule {
    rule_name         = "daily"
    target_vault_name = aws_backup_vault.this[0].name
    schedule          = local.backups[0].schedule

    lifecycle {
      delete_after = local.backups[0].retention_days
    }

    dynamic "copy_action" {
      for_each = local.backups[0].copy_to_vault_arn == null ? [] : [local.backups[0].copy_to_vault_arn]
      content {
        destination_vault_arn = copy_action.value
        lifecycle {
          delete_after = local.backups[0].retention_days
        }
      }
    }
  }
}

# Who makes a copy in another account reads what this key encrypts (AWS Backup developer guide, "Creating backup copies across AWS accounts").
data "aws_iam_policy_document" "copies" {
  # checkov:skip=CKV_AWS_111:in a key policy "*" is this key; the other account is named, and grants are for services of AWS only
  # checkov:skip=CKV_AWS_356:in a key policy "*" is this key
  count = contains(["", var.account.id], local.copies_account) ? 0 : 1

  statement {
    sid = "CopyToAnotherAccount"
    actions = [
      "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom",
      "kms:ReEncryptTo",
    ]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.account.partition}:iam::${local.copies_account}:root"]
    }
  }

  statement {
    sid       = "GrantToServicesOfAnotherAccount"
    actions   = ["kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = ["arn:${var.account.partition}:iam::${local.copies_account}:root"]
    }

    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
}

data "aws_iam_policy_document" "backup_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["backup.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account.id]
    }
  }
}

resource "aws_iam_role" "backup" {
  count = length(local.backups)

  name                 = "${var.name}-database-backup"
  description          = "AWS Backup of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.backup_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "backup" {
  count = length(local.backups)

  role       = aws_iam_role.backup[0].name
  policy_arn = "arn:${var.account.partition}:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup"
}

resource "aws_backup_selection" "this" {
  count = length(local.backups)

  name         = "database"
  plan_id      = aws_backup_plan.this[0].id
  iam_role_arn = aws_iam_role.backup[0].arn
  resources    = [aws_db_instance.this.arn]

  depends_on = [aws_iam_role_policy_attachment.backup]
}
