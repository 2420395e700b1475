# The database module.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "sluice-dev"
  account                  = { id = "123456789012", partition = "aws", region = "eu-central-1" }
  vpc_id                   = "vpc-0123456789abcdef0"
  subnet_ids               = ["subnet-0a", "subnet-0b"]
  client_security_group_id = "sg-0c"
  database_name            = "sluice"
  engine_version           = "17"
  instance_class           = "db.t4g.medium"
  max_connections          = 400
  storage                  = { initial_gib = 20, max_gib = 100 }
  multi_az                 = false
  backup                   = { retention_days = 7, window = "02:00-03:00" }
  maintenance_window       = "sun:04:00-sun:05:00"
  apply_immediately        = false
  monitoring_interval      = 0
  deletion_protection      = true
  skip_final_snapshot      = false
  log_retention_days       = 30
  log_key_arn              = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-4234-8234-123456789012"
  key_deletion_window_days = 30
  permissions_boundary_arn = null
}

run "only_the_cluster_connects_and_only_by_tls" {
  command = plan
  module { source = "./modules/database" }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.this.referenced_security_group_id == "sg-0c" && aws_vpc_security_group_ingress_rule.this.cidr_ipv4 == null && aws_vpc_security_group_ingress_rule.this.from_port == 5432
    error_message = "The cluster's security group reaches 5432, and nobody else."
  }

  assert {
    condition     = !aws_db_instance.this.publicly_accessible && { for item in aws_db_parameter_group.this["17"].parameter : item.name => item.value }["rds.force_ssl"] == "1"
    error_message = "No public address, no connection without TLS."
  }

  # RDS tells of a parameter that has its family's default value that it waits, however it was set, and each plan would change it again.
  assert {
    condition     = { for item in aws_db_parameter_group.this["17"].parameter : item.name => item.apply_method }["rds.force_ssl"] == "pending-reboot"
    error_message = "The plan after an apply must be empty."
  }
}

run "connections_are_a_number" {
  command = plan
  module { source = "./modules/database" }

  assert {
    condition     = { for item in aws_db_parameter_group.this["17"].parameter : item.name => [item.value, item.apply_method] }["max_connections"] == ["400", "pending-reboot"]
    error_message = "The chart counts on max_connections as a number."
  }

  assert {
    condition     = aws_db_parameter_group.this["17"].family == "postgres17" && aws_db_instance.this.engine_version == "17"
    error_message = "Only the major version is fixed."
  }
}

run "changes_are_audited_without_passwords" {
  command = plan
  module { source = "./modules/database" }

  assert {
    condition = { for item in aws_db_parameter_group.this["17"].parameter : item.name => item.value if contains(["log_statement", "log_min_error_statement", "pgaudit.log", "shared_preload_libraries"], item.name) } == {
      log_statement = "none", log_min_error_statement = "panic", "pgaudit.log" = "ddl,role", shared_preload_libraries = "pg_stat_statements,pgaudit"
    }
    error_message = "PostgreSQL would log ALTER ROLE ... PASSWORD as it was typed; pgAudit leaves the password out."
  }
}

run "the_owner_s_password_is_kept_by_rds" {
  module { source = "./modules/database" }

  assert {
    condition     = aws_db_instance.this.manage_master_user_password && aws_db_instance.this.password == null && aws_db_instance.this.iam_database_authentication_enabled
    error_message = "Terraform must never know a password."
  }

  assert {
    condition     = aws_db_instance.this.storage_encrypted && aws_db_instance.this.master_user_secret_kms_key_id == output.key_arn && aws_db_instance.this.kms_key_id == output.key_arn && aws_db_instance.this.performance_insights_kms_key_id == output.key_arn
    error_message = "Storage, password and Performance Insights use the database's key."
  }

  assert {
    condition     = output.owner_secret_arn == "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-0-abcdef"
    error_message = "The migration needs the secret's ARN."
  }
}

run "the_last_snapshot_has_a_name_of_its_own" {
  module { source = "./modules/database" }

  assert {
    condition     = aws_db_instance.this.final_snapshot_identifier == "sluice-dev-final-${terraform_data.life.id}" && !aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.deletion_protection
    error_message = "A second life of the environment must not meet the first one's snapshot."
  }

  assert {
    condition     = keys(aws_cloudwatch_log_group.this) == ["postgresql", "upgrade"] && aws_cloudwatch_log_group.this["postgresql"].name == "/aws/rds/instance/sluice-dev/postgresql"
    error_message = "Log groups must be there before RDS makes them without retention."
  }
}

# RDS upgrades in the maintenance window, and until then the instance has its old group (apply_immediately is false).
run "an_upgrade_keeps_the_group_of_the_version_before" {
  command = plan
  module { source = "./modules/database" }

  variables { engine_version = "18" }

  assert {
    condition     = keys(aws_db_parameter_group.this) == ["17", "18"] && aws_db_instance.this.parameter_group_name == "sluice-dev-postgres18"
    error_message = "RDS refuses to delete a group that an instance still has."
  }
}

run "production_is_watched_and_has_a_standby" {
  command = plan
  module { source = "./modules/database" }

  variables {
    multi_az            = true
    monitoring_interval = 60
  }

  assert {
    condition     = aws_db_instance.this.multi_az && aws_db_instance.this.monitoring_interval == 60 && length(aws_iam_role.monitoring) == 1
    error_message = "Enhanced monitoring needs its role."
  }
}

run "a_throwaway_database_leaves_no_snapshot" {
  command = plan
  module { source = "./modules/database" }

  variables {
    skip_final_snapshot = true
    deletion_protection = false
  }

  assert {
    condition     = aws_db_instance.this.skip_final_snapshot && aws_db_instance.this.final_snapshot_identifier == null && length(aws_iam_role.monitoring) == 0
    error_message = "dev is gone in one command."
  }
}

run "what_fills_up_is_told_to_sns" {
  command = plan
  module { source = "./modules/database" }

  variables {
    alarm_topic_arn = "arn:aws:sns:eu-central-1:123456789012:oncall"
  }

  assert {
    condition     = { for name, one in aws_cloudwatch_metric_alarm.this : name => [one.metric_name, one.threshold] } == { storage = ["FreeStorageSpace", 2147483648], connections = ["DatabaseConnections", 320], credits = ["CPUCreditBalance", 50] }
    error_message = "Storage at a tenth, connections at 80 %, credits of a burstable class."
  }
}

run "aws_backup_copies_to_another_vault" {
  module { source = "./modules/database" }

  variables {
    backup_plan = { copy_to_vault_arn = "arn:aws:backup:eu-west-1:123456789012:backup-vault:copies" }
  }

  assert {
    condition     = one(aws_backup_plan.this[0].rule).lifecycle[0].delete_after == 35 && one(one(aws_backup_plan.this[0].rule).copy_action).destination_vault_arn == "arn:aws:backup:eu-west-1:123456789012:backup-vault:copies"
    error_message = "A copy outlives instance and region."
  }

  assert {
    condition     = length(data.aws_iam_policy_document.copies) == 0
    error_message = "Nobody else needs the key for it."
  }

  assert {
    condition     = !aws_backup_vault.this[0].force_destroy
    error_message = "Destroy leaves recovery points where it leaves a last snapshot."
  }
}

run "another_account_may_use_the_key_for_its_copies" {
  command = plan
  module { source = "./modules/database" }

  variables {
    backup_plan = { copy_to_vault_arn = "arn:aws:backup:eu-central-1:210987654321:backup-vault:copies" }
  }

  assert {
    condition     = toset(flatten([for one in data.aws_iam_policy_document.copies[0].statement : [for who in one.principals : tolist(who.identifiers)]])) == toset(["arn:aws:iam::210987654321:root"])
    error_message = "Without the key each copy fails."
  }
}

run "a_throwaway_database_takes_its_recovery_points_along" {
  command = plan
  module { source = "./modules/database" }

  variables {
    backup_plan         = {}
    skip_final_snapshot = true
    deletion_protection = false
  }

  assert {
    condition     = aws_backup_vault.this[0].force_destroy
    error_message = "Else destroy stops at a vault that is not empty."
  }
}
