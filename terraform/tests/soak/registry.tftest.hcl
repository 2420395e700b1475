# Variables of the registry: every rule with a refused sample, and what lies just inside it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "no_repository_is_refused" {
  command = plan

  variables {
    repositories = []
  }

  expect_failures = [var.repositories]
}

run "a_repository_twice_is_refused" {
  command = plan

  variables {
    repositories = ["a1", "a1"]
  }

  expect_failures = [var.repositories]
}

run "a_repository_with_capitals_is_refused" {
  command = plan

  variables {
    repositories = ["Sluice"]
  }

  expect_failures = [var.repositories]
}

run "a_repository_with_a_tag_is_refused" {
  command = plan

  variables {
    repositories = ["sluice:latest"]
  }

  expect_failures = [var.repositories]
}

run "a_repository_with_a_path_is_taken" {
  command = plan

  variables {
    repositories = ["team/sluice", "team/charts_1"]
  }

  assert {
    condition     = length(output.ci.repositories) == 2
    error_message = "Both repositories must be made."
  }
}

run "fifty_releases_are_refused" {
  command = plan

  variables {
    image_retention = { releases = 50 }
  }

  expect_failures = [var.image_retention]
}

run "fifty_deployed_images_are_refused" {
  command = plan

  variables {
    image_retention = { deployed = 50 }
  }

  expect_failures = [var.image_retention]
}

run "zero_days_are_refused" {
  command = plan

  variables {
    image_retention = { untagged_days = 0 }
  }

  expect_failures = [var.image_retention]
}

run "half_a_day_is_refused" {
  command = plan

  variables {
    image_retention = { pull_request_days = 0.5 }
  }

  expect_failures = [var.image_retention]
}

run "a_hundred_releases_are_taken" {
  command = plan

  variables {
    image_retention = { releases = 100, deployed = 100, builds = 1 }
  }

  assert {
    condition     = var.image_retention.releases == 100
    error_message = "A hundred releases must be taken."
  }
}

run "a_registry_of_this_very_environment_is_refused" {
  command = plan

  variables {
    environment = "dev"
    registry_of = "dev"
  }

  expect_failures = [var.registry_of]
}

run "a_registry_of_no_environment_s_name_is_refused" {
  command = plan

  variables {
    registry_of = "Test"
  }

  expect_failures = [var.registry_of]
}

run "a_second_builder_is_refused" {
  command = plan

  variables {
    environment = "staging"
    registry_of = "dev"
    github      = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22 }
  }

  expect_failures = [var.registry_of]
}

run "force_delete_in_prod_is_refused" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    repository_force_delete        = true
  }

  expect_failures = [var.repository_force_delete]
}

run "a_cache_that_needs_credentials_is_refused" {
  command = plan

  variables {
    pull_through_cache = ["docker-hub"]
  }

  expect_failures = [var.pull_through_cache]
}

run "no_cache_is_taken" {
  command = plan

  variables {
    pull_through_cache = []
  }

  assert {
    condition     = length(var.pull_through_cache) == 0
    error_message = "The cache can be left out."
  }
}

run "an_account_of_a_registry_without_digits_is_refused" {
  command = plan

  variables {
    registry_of         = "prod"
    registry_account_id = "tools"
  }

  expect_failures = [var.registry_account_id]
}

run "an_account_of_a_registry_without_its_environment_is_refused" {
  command = plan

  variables {
    registry_account_id = "210987654321"
  }

  expect_failures = [var.registry_account_id]
}

run "a_reader_without_digits_is_refused" {
  command = plan

  variables {
    registry_reader_account_ids = ["prod"]
  }

  expect_failures = [var.registry_reader_account_ids]
}

run "a_reader_of_what_is_read_is_refused" {
  command = plan

  variables {
    registry_of                 = "prod"
    registry_reader_account_ids = ["210987654321"]
  }

  expect_failures = [var.registry_reader_account_ids]
}

run "a_reader_of_images_that_go_is_refused" {
  command = plan

  variables {
    repository_force_delete     = true
    registry_reader_account_ids = ["210987654321"]
  }

  expect_failures = [var.registry_reader_account_ids]
}

run "a_cache_without_a_way_to_the_internet_is_refused" {
  command = plan

  variables {
    nat_mode           = "none"
    pull_through_cache = ["quay"]
  }

  expect_failures = [var.pull_through_cache]
}

run "a_mirror_of_an_unknown_upstream_is_refused" {
  command = plan

  variables {
    mirrored_repositories = ["docker-hub/library/redis"]
  }

  expect_failures = [var.mirrored_repositories]
}
