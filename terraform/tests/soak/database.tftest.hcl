# Variables of the database: every rule with a refused sample, and what lies just inside it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "an_old_postgresql_is_refused" {
  command = plan

  variables {
    database_engine_version = "16"
  }

  expect_failures = [var.database_engine_version]
}

run "a_minor_version_is_refused" {
  command = plan

  variables {
    database_engine_version = "17.5"
  }

  expect_failures = [var.database_engine_version]
}

run "the_next_major_version_is_taken" {
  command = plan

  variables {
    database_engine_version = "18"
  }

  assert {
    condition     = var.database_engine_version == "18"
    error_message = "The next major version must be taken."
  }
}

run "a_class_of_another_service_is_refused" {
  command = plan

  variables {
    database_instance_class = "t3.micro"
  }

  expect_failures = [var.database_instance_class]
}

run "a_small_class_is_refused_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.t4g.small"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
  }

  expect_failures = [var.database_instance_class]
}

run "the_smallest_class_has_100_connections" {
  command = plan

  variables {
    database_instance_class = "db.t4g.micro"
  }

  assert {
    condition     = output.database.max_connections == 100
    error_message = "One GiB must give 100 connections."
  }
}

run "the_largest_class_has_5000_connections" {
  command = plan

  variables {
    database_instance_class = "db.r7g.2xlarge"
  }

  assert {
    condition     = output.database.max_connections == 5000
    error_message = "RDS allows 5000 connections at most."
  }
}

run "a_database_with_a_hyphen_is_refused" {
  command = plan

  variables {
    database_name = "my-events"
  }

  expect_failures = [var.database_name]
}

run "a_database_of_postgresql_itself_is_refused" {
  command = plan

  variables {
    database_name = "postgres"
  }

  expect_failures = [var.database_name]
}

run "a_storage_of_19_gib_is_refused" {
  command = plan

  variables {
    database_storage_gib = 19
  }

  expect_failures = [var.database_storage_gib]
}

run "half_a_gib_is_refused" {
  command = plan

  variables {
    database_storage_gib = 20.5
  }

  expect_failures = [var.database_storage_gib]
}

run "no_room_to_grow_is_refused" {
  command = plan

  variables {
    database_storage_gib     = 100
    database_max_storage_gib = 105
  }

  expect_failures = [var.database_max_storage_gib]
}

run "a_tenth_of_room_is_taken" {
  command = plan

  variables {
    database_storage_gib     = 100
    database_max_storage_gib = 110
  }

  assert {
    condition     = var.database_max_storage_gib == 110
    error_message = "A tenth must be enough."
  }
}

run "prod_without_standby_is_refused" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = false
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
  }

  expect_failures = [var.database_multi_az]
}

run "no_backup_is_refused" {
  command = plan

  variables {
    database_backup_retention_days = 0
  }

  expect_failures = [var.database_backup_retention_days]
}

run "backups_of_36_days_are_refused" {
  command = plan

  variables {
    database_backup_retention_days = 36
  }

  expect_failures = [var.database_backup_retention_days]
}

run "a_week_of_backups_is_refused_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 7
    database_monitoring_interval   = 60
  }

  expect_failures = [var.database_backup_retention_days]
}

run "a_backup_window_without_end_is_refused" {
  command = plan

  variables {
    database_backup_window = "02:00"
  }

  expect_failures = [var.database_backup_window]
}

run "a_backup_window_of_20_minutes_is_refused" {
  command = plan

  variables {
    database_backup_window = "02:00-02:20"
  }

  expect_failures = [var.database_backup_window]
}

run "a_backup_window_over_midnight_is_refused" {
  command = plan

  variables {
    database_backup_window = "23:45-00:30"
  }

  expect_failures = [var.database_backup_window]
}

run "an_hour_of_24_is_refused" {
  command = plan

  variables {
    database_backup_window = "24:00-24:30"
  }

  expect_failures = [var.database_backup_window]
}

run "a_maintenance_window_without_day_is_refused" {
  command = plan

  variables {
    database_maintenance_window = "04:00-05:00"
  }

  expect_failures = [var.database_maintenance_window]
}

run "a_maintenance_window_over_two_days_is_refused" {
  command = plan

  variables {
    database_maintenance_window = "sun:23:30-mon:00:30"
  }

  expect_failures = [var.database_maintenance_window]
}

run "overlapping_windows_are_refused" {
  command = plan

  variables {
    database_backup_window = "04:30-05:30"
  }

  expect_failures = [var.database_maintenance_window]
}

run "a_window_inside_the_other_is_refused" {
  command = plan

  variables {
    database_backup_window = "01:00-08:00"
  }

  expect_failures = [var.database_maintenance_window]
}

run "windows_that_touch_are_taken" {
  command = plan

  variables {
    database_backup_window = "03:00-04:00"
  }

  assert {
    condition     = var.database_backup_window == "03:00-04:00"
    error_message = "Windows may touch."
  }
}

run "an_interval_that_rds_lacks_is_refused" {
  command = plan

  variables {
    database_monitoring_interval = 20
  }

  expect_failures = [var.database_monitoring_interval]
}

run "no_monitoring_is_refused_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 0
  }

  expect_failures = [var.database_monitoring_interval]
}

run "prod_without_last_snapshot_is_refused" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    database_skip_final_snapshot   = true
  }

  expect_failures = [var.database_skip_final_snapshot]
}

run "prod_is_taken" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
  }

  assert {
    condition     = output.database.max_connections == 800
    error_message = "Eight GiB must give 800 connections."
  }

  assert {
    condition     = output.monthly_estimate.total > output.monthly_estimate.cluster
    error_message = "prod must have a price."
  }
}

run "a_class_of_unknown_memory_needs_its_connections" {
  command = plan

  variables {
    database_instance_class = "db.m9g.large"
  }

  expect_failures = [var.database_max_connections]
}

run "half_a_connection_is_refused" {
  command = plan

  variables {
    database_max_connections = 100.5
  }

  expect_failures = [var.database_max_connections]
}

run "a_class_that_is_not_in_the_table_is_taken" {
  command = plan

  variables {
    database_instance_class  = "db.m9g.large"
    database_max_connections = 800
  }

  assert {
    condition     = output.database.max_connections == 800 && output.monthly_estimate.database == null
    error_message = "A class needs no change of this code; it has no price here."
  }
}

run "a_topic_by_its_name_is_refused" {
  command = plan
  variables { database_alarm_topic_arn = "oncall" }
  expect_failures = [var.database_alarm_topic_arn]
}

run "a_backup_for_no_day_is_refused" {
  command = plan
  variables { database_backup_plan = { retention_days = 0 } }
  expect_failures = [var.database_backup_plan]
}

run "a_backup_at_a_rate_is_refused" {
  command = plan
  variables { database_backup_plan = { schedule = "rate(1 day)" } }
  expect_failures = [var.database_backup_plan]
}

run "a_backup_within_an_hour_before_the_backup_window_is_refused" {
  command = plan
  variables { database_backup_plan = { schedule = "cron(1 1 * * ? *)" } }
  expect_failures = [var.database_backup_plan]
}

run "a_second_backup_in_the_maintenance_window_is_refused" {
  command = plan
  variables { database_backup_plan = { schedule = "cron(30 12,4 * * ? *)" } }
  expect_failures = [var.database_backup_plan]
}

run "a_backup_before_midnight_and_a_window_after_it_are_refused" {
  command = plan
  variables {
    database_backup_window = "00:30-01:00"
    database_backup_plan   = { schedule = "cron(45 23 * * ? *)" }
  }
  expect_failures = [var.database_backup_plan]
}

run "a_backup_every_hour_is_refused" {
  command = plan
  variables { database_backup_plan = { schedule = "cron(0 * * * ? *)" } }
  expect_failures = [var.database_backup_plan]
}

run "a_backup_at_the_default_is_taken" {
  command = plan
  variables { database_backup_plan = {} }

  assert {
    condition     = var.database_backup_plan.schedule == "cron(0 6 * * ? *)"
    error_message = "An hour after both windows."
  }
}

run "backups_just_outside_of_both_windows_are_taken" {
  command = plan
  variables { database_backup_plan = { schedule = "cron(0 5,13 ? * MON *)" } }

  assert {
    condition     = [for window in local.database_windows : [window.start, window.minutes]] == [[120, 60], [240, 60]]
    error_message = "The windows end where they say."
  }
}

run "a_backup_just_an_hour_before_a_window_is_taken" {
  command = plan
  variables {
    database_backup_window = "22:00-22:30"
    database_backup_plan   = { schedule = "cron(59 20 * * ? *)" }
  }

  assert {
    condition     = length(local.database_windows) == 2
    error_message = "It is taken."
  }
}
