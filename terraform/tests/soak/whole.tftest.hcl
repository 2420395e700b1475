# Variables of the whole: every rule with a refused sample, and what lies just inside it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "a_project_with_capitals_is_refused" {
  command = plan

  variables {
    project = "Sluice"
  }

  expect_failures = [var.project]
}

run "a_project_of_12_characters_is_refused" {
  command = plan

  variables {
    project = "abcdefghijkl"
  }

  expect_failures = [var.project]
}

run "a_project_with_two_hyphens_in_a_row_is_refused" {
  command = plan

  variables {
    project = "a--b"
  }

  expect_failures = [var.project]
}

run "a_project_of_11_characters_is_taken" {
  command = plan

  variables {
    project = "abcdefghijk"
  }

  assert {
    condition     = output.cluster.name == "abcdefghijk-dev"
    error_message = "The cluster must be named after project and environment."
  }
}

run "an_environment_of_any_name_may_be_production" {
  command = plan

  variables {
    environment = "live"
    production  = true
  }

  expect_failures = [var.log_retention_days, var.database_multi_az, var.database_backup_retention_days, var.database_monitoring_interval, check.prod_survives_a_zone, check.database_is_not_burstable]
}

run "an_environment_with_capitals_is_refused" {
  command = plan

  variables {
    environment = "Test"
  }

  expect_failures = [var.environment]
}

run "a_region_of_another_form_is_refused" {
  command = plan

  variables {
    region = "europe"
  }

  expect_failures = [var.region]
}

run "a_region_whose_services_have_other_names_is_refused" {
  command = plan

  variables {
    region = "cn-north-1"
  }

  expect_failures = [var.region]
}

run "a_zone_is_no_region" {
  command = plan

  variables {
    region = "eu-central-1a"
  }

  expect_failures = [var.region]
}

run "an_account_of_11_digits_is_refused" {
  command = plan

  variables {
    account_id = "12345678901"
  }

  expect_failures = [var.account_id]
}

run "an_account_with_letters_is_refused" {
  command = plan

  variables {
    account_id = "12345678901a"
  }

  expect_failures = [var.account_id]
}

run "a_tag_of_aws_is_refused" {
  command = plan

  variables {
    tags = { "aws:owner" = "x" }
  }

  expect_failures = [var.tags]
}

run "a_tag_that_is_set_already_is_refused" {
  command = plan

  variables {
    tags = { Environment = "other" }
  }

  expect_failures = [var.tags]
}

run "a_tag_value_of_257_characters_is_refused" {
  command = plan

  variables {
    tags = { Team = format("%0257d", 0) }
  }

  expect_failures = [var.tags]
}

run "a_tag_that_is_set_already_in_other_letters_is_refused" {
  command = plan
  variables { tags = { environment = "other" } }
  expect_failures = [var.tags]
}

run "a_tag_twice_in_other_letters_is_refused" {
  command = plan
  variables { tags = { Team = "a", team = "b" } }
  expect_failures = [var.tags]
}

run "a_tag_with_a_value_that_aws_does_not_take_is_refused" {
  command = plan
  variables { tags = { Team = "R&D" } }
  expect_failures = [var.tags]
}

run "a_tag_with_letters_of_any_language_and_one_without_value_are_taken" {
  command = plan
  variables { tags = { Team = "Pl\u00e4ne + Zahlen: 1/2", Owner = "" } }

  assert {
    condition     = local.tags["Owner"] == ""
    error_message = "AWS takes both."
  }
}

run "forty_one_tags_are_refused" {
  command = plan

  variables {
    tags = { for number in range(41) : "Tag${number}" => "x" }
  }

  expect_failures = [var.tags]
}

run "forty_tags_are_taken" {
  command = plan

  variables {
    tags = { for number in range(40) : "Tag${number}" => "x" }
  }

  assert {
    condition     = length(var.tags) == 40
    error_message = "Forty tags must be taken."
  }
}

run "a_role_is_no_boundary" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:role/bound"
  }

  expect_failures = [var.permissions_boundary_arn]
}

run "a_boundary_is_taken" {
  command = plan

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/bound"
  }

  assert {
    condition     = var.permissions_boundary_arn != null
    error_message = "A boundary must be taken."
  }
}

run "a_retention_that_cloudwatch_lacks_is_refused" {
  command = plan

  variables {
    log_retention_days = 10
  }

  expect_failures = [var.log_retention_days]
}

run "a_short_retention_is_refused_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 180
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
  }

  expect_failures = [var.log_retention_days]
}

run "a_key_window_of_6_days_is_refused" {
  command = plan

  variables {
    key_deletion_window_days = 6
  }

  expect_failures = [var.key_deletion_window_days]
}

run "a_key_window_of_31_days_is_refused" {
  command = plan

  variables {
    key_deletion_window_days = 31
  }

  expect_failures = [var.key_deletion_window_days]
}

run "a_short_key_window_is_refused_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    key_deletion_window_days       = 7
  }

  expect_failures = [var.key_deletion_window_days]
}

run "a_key_window_of_7_days_is_taken_in_dev" {
  command = plan

  variables {
    key_deletion_window_days = 7
  }

  assert {
    condition     = var.key_deletion_window_days == 7
    error_message = "Seven days must be taken."
  }
}

run "an_unprotected_prod_with_a_protected_database_is_refused" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    destroy_protection             = false
  }

  expect_failures = [var.database_deletion_protection]
}

run "a_protected_prod_with_an_unprotected_database_is_refused" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    database_deletion_protection   = false
  }

  expect_failures = [var.database_deletion_protection]
}

run "a_protected_database_alone_is_refused_in_dev_too" {
  command = plan

  variables {
    destroy_protection = false
  }

  expect_failures = [var.database_deletion_protection]
}

run "prod_is_released_by_both_variables" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    destroy_protection             = false
    database_deletion_protection   = false
  }

  assert {
    condition     = output.cluster.name == "sluice-prod"
    error_message = "Both variables together must be taken."
  }
}
