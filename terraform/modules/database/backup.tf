# Copies that outlive the instance, its automated backups and, with copy_to_vault_arn, the region or the account.
locals {
  backups = var.backup_plan == null ? [] : [var.backup_plan]
}

resource "aws_backup_vault" "this" {
  count = length(local.backups)

  name        = "${var.name}-database"
  kms_key_arn = module.key.arn
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
