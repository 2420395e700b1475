# An environment of two zones gets a third one.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment        = "dev"
  region             = "eu-central-1"
  account_id         = "123456789012"
  az_count           = 2
  destroy_protection = false
  # Both would otherwise be true, and so refuse the end of this test.
  database_deletion_protection = false

  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "two_zones" {
  assert {
    condition     = length(local.control_plane_subnet_ids) == 2
    error_message = "The control plane has both."
  }
}

run "a_third_zone_is_of_nodes_and_database_and_not_of_the_control_plane" {
  command = plan
  variables { az_count = 3 }

  assert {
    condition     = length(local.control_plane_subnet_ids) == 2 && length(module.network.private_subnet_ids) == 3 && length(module.network.data_subnet_ids) == 3
    error_message = "EKS refuses subnets of any other zone than those of the cluster's birth."
  }
}

run "a_zone_before_the_first_is_refused" {
  command = plan
  variables {
    az_count           = 3
    availability_zones = ["eu-central-1c", "eu-central-1a", "eu-central-1b"]
  }
  expect_failures = [terraform_data.rules]
}

run "a_zone_less_is_refused" {
  command = plan
  variables { availability_zones = ["eu-central-1b", "eu-central-1c"] }
  expect_failures = [terraform_data.rules]
}
