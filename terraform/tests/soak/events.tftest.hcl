# Variables of queue and table: every rule with a refused sample, and what lies just inside it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "few_deliveries_are_refused" {
  command = plan

  variables {
    queue = { max_receive_count = 10 }
  }

  expect_failures = [var.queue]
}

run "eleven_deliveries_are_taken" {
  command = plan

  variables {
    queue = { max_receive_count = 11 }
  }

  assert {
    condition     = var.queue.max_receive_count == 11
    error_message = "Eleven deliveries must be taken."
  }
}

run "no_shard_is_refused" {
  command = plan

  variables {
    dynamodb = { shards = 0 }
  }

  expect_failures = [var.dynamodb]
}

run "most_shards_are_taken" {
  command = plan

  variables {
    dynamodb = { shards = 128 }
  }

  assert {
    condition     = var.dynamodb.shards == 128
    error_message = "As many as the service takes must be taken."
  }
}

run "a_table_that_would_survive_a_destroy_is_refused" {
  command = plan

  variables {
    dynamodb                     = {}
    destroy_protection           = false
    database_deletion_protection = false
  }

  expect_failures = [var.dynamodb]
}

run "an_unprotected_table_is_refused_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    dynamodb                       = { deletion_protection = false }
  }

  expect_failures = [var.dynamodb]
}
