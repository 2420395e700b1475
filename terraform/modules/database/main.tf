# PostgreSQL on RDS: encrypted, TLS only, reached from the cluster only, its owner's password kept and rotated by RDS.

locals {
  owner = "sluice_owner"
  parameters = {
    # Its family's default, of which RDS says that it waits, however it was set (hashicorp/terraform-provider-aws, issue 39252).
    "rds.force_ssl" = { value = "1", apply_method = "pending-reboot" }
    # A number, where RDS would have a formula: the chart's pool guard counts on it.
    max_connections = { value = tostring(var.max_connections), apply_method = "pending-reboot" }
    # Statements slower than a second are logged, without their parameters.
    log_min_duration_statement = { value = "1000", apply_method = "immediate" }
    log_parameter_max_length   = { value = "0", apply_method = "immediate" }
    # Who made, changed or dropped what is pgAudit's to tell: it leaves passwords out. PostgreSQL's own log_statement would write
    # ALTER ROLE ... PASSWORD as it was typed (RDS user guide, "Setting up the pgAudit extension").
    shared_preload_libraries = { value = "pg_stat_statements,pgaudit", apply_method = "pending-reboot" }
    "pgaudit.log"            = { value = "ddl,role", apply_method = "pending-reboot" }
    log_statement            = { value = "none", apply_method = "immediate" }
    # Nor is the text of a statement that failed.
    log_min_error_statement = { value = "panic", apply_method = "immediate" }
  }
}

module "key" {
  source = "../key"

  name                 = "${var.name}-database"
  description          = "Storage, snapshots and owner's password of database ${var.name}"
  account              = var.account
  deletion_window_days = var.key_deletion_window_days
  policies             = data.aws_iam_policy_document.copies[*].json
}

resource "aws_db_subnet_group" "this" {
  name        = var.name
  description = "Data subnets of ${var.name}"
  subnet_ids  = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.name}-database"
  description = "PostgreSQL from the cluster"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-database" }
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  security_group_id            = aws_security_group.this.id
  description                  = "PostgreSQL from nodes and pods of the cluster"
  referenced_security_group_id = var.client_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

# Beside the group of this major version stays that of the one before: RDS upgrades in the maintenance window, and deletes no group that an
# instance still has.
resource "aws_db_parameter_group" "this" {
  for_each = toset([for step in [-1, 0] : tostring(tonumber(var.engine_version) + step)])

  name        = "${var.name}-postgres${each.key}"
  description = "PostgreSQL ${each.key} of ${var.name}"
  family      = "postgres${each.key}"

  dynamic "parameter" {
    for_each = local.parameters
    content {
      name         = parameter.key
      value        = parameter.value.value
      apply_method = parameter.value.apply_method
    }
  }
}

moved {
  from = aws_db_parameter_group.this
  to   = aws_db_parameter_group.this["17"]
}

# Made before the instance, which would otherwise make them without retention.
resource "aws_cloudwatch_log_group" "this" {
  # checkov:skip=CKV_AWS_338:how long logs are kept is the environment's choice (log_retention_days); prod keeps a year
  for_each = toset(["postgresql", "upgrade"])

  name              = "/aws/rds/instance/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.log_key_arn
}

# Its id ends the name of the last snapshot: a second life of the same environment leaves a second snapshot, not a clash of names.
resource "terraform_data" "life" {}

resource "aws_db_instance" "this" {
  # checkov:skip=CKV_AWS_157:a standby is the environment's choice (multi_az); prod must have it
  # checkov:skip=CKV_AWS_118:enhanced monitoring is the environment's choice (monitoring_interval); prod has it
  identifier     = var.name
  engine         = "postgres"
  engine_version = var.engine_version
  instance_class = var.instance_class
  db_name        = var.database_name

  username                            = local.owner
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = module.key.arn
  iam_database_authentication_enabled = true

  storage_type          = "gp3"
  allocated_storage     = var.storage.initial_gib
  max_allocated_storage = var.storage.max_gib
  storage_encrypted     = true
  kms_key_id            = module.key.arn

  multi_az               = var.multi_az
  publicly_accessible    = false
  port                   = 5432
  db_subnet_group_name   = aws_db_subnet_group.this.name
  vpc_security_group_ids = [aws_security_group.this.id]
  parameter_group_name   = aws_db_parameter_group.this[var.engine_version].name

  backup_retention_period = var.backup.retention_days
  backup_window           = var.backup.window
  copy_tags_to_snapshot   = true

  maintenance_window         = var.maintenance_window
  auto_minor_version_upgrade = true
  # A new major version is a change of database_engine_version, and nothing else (runbook: upgrade-rds.md).
  allow_major_version_upgrade = true
  apply_immediately           = var.apply_immediately
  engine_lifecycle_support    = "open-source-rds-extended-support-disabled"

  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]
  performance_insights_enabled          = true
  performance_insights_kms_key_id       = module.key.arn
  performance_insights_retention_period = 7
  monitoring_interval                   = var.monitoring_interval
  monitoring_role_arn                   = one(aws_iam_role.monitoring[*].arn)

  deletion_protection       = var.deletion_protection
  skip_final_snapshot       = var.skip_final_snapshot
  final_snapshot_identifier = var.skip_final_snapshot ? null : "${var.name}-final-${terraform_data.life.id}"

  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy_attachment.monitoring]
}

data "aws_iam_policy_document" "monitoring_trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [var.account.id]
    }
  }
}

resource "aws_iam_role" "monitoring" {
  count = var.monitoring_interval > 0 ? 1 : 0

  name                 = "${var.name}-database-monitoring"
  description          = "Enhanced monitoring of ${var.name}"
  assume_role_policy   = data.aws_iam_policy_document.monitoring_trust.json
  permissions_boundary = var.permissions_boundary_arn
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  count = var.monitoring_interval > 0 ? 1 : 0

  role       = aws_iam_role.monitoring[0].name
  policy_arn = "arn:${var.account.partition}:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
