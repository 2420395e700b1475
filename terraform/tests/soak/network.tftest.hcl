# Variables of the network: every rule with a refused sample, and what lies just inside it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "a_vpc_that_is_no_range_is_refused" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_vpc_that_begins_inside_its_range_is_refused" {
  command = plan

  variables {
    vpc_cidr = "10.0.1.0/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_vpc_of_15_is_refused" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/15"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_vpc_of_21_is_refused" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/21"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_public_vpc_is_refused" {
  command = plan

  variables {
    vpc_cidr = "8.8.0.0/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_vpc_just_outside_of_rfc_1918_is_refused" {
  command = plan

  variables {
    vpc_cidr = "172.32.0.0/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_vpc_of_ipv6_is_refused" {
  command = plan

  variables {
    vpc_cidr = "fd00::/16"
  }

  expect_failures = [var.vpc_cidr]
}

run "a_vpc_of_20_is_taken" {
  command = plan

  variables {
    vpc_cidr = "192.168.16.0/20"
  }

  assert {
    condition     = output.cluster.name == "sluice-dev"
    error_message = "A /20 must be taken."
  }
}

run "a_vpc_of_rfc_6598_is_taken" {
  command = plan

  variables {
    vpc_cidr = "100.64.0.0/16"
  }

  assert {
    condition     = output.cluster.name == "sluice-dev"
    error_message = "A shared range must be taken."
  }
}

run "one_zone_is_refused" {
  command = plan

  variables {
    az_count = 1
  }

  expect_failures = [var.az_count]
}

run "four_zones_are_refused" {
  command = plan

  variables {
    az_count = 4
  }

  expect_failures = [var.az_count]
}

run "zones_of_another_region_are_refused" {
  command = plan

  variables {
    az_count           = 2
    availability_zones = ["us-east-1a", "us-east-1b"]
  }

  expect_failures = [var.availability_zones]
}

run "a_local_zone_is_refused" {
  command = plan

  variables {
    region             = "us-east-1"
    az_count           = 2
    availability_zones = ["us-east-1a", "us-east-1-bos-1"]
  }

  expect_failures = [var.availability_zones]
}

run "two_zones_for_three_are_refused" {
  command = plan

  variables {
    az_count           = 3
    availability_zones = ["eu-central-1a", "eu-central-1b"]
  }

  expect_failures = [var.availability_zones]
}

run "a_zone_twice_is_refused" {
  command = plan

  variables {
    az_count           = 2
    availability_zones = ["eu-central-1a", "eu-central-1a"]
  }

  expect_failures = [var.availability_zones]
}

run "chosen_zones_are_taken" {
  command = plan

  variables {
    az_count           = 2
    availability_zones = ["eu-central-1c", "eu-central-1a"]
  }

  assert {
    condition     = local.availability_zones[0] == "eu-central-1c"
    error_message = "The order of the zones must be kept."
  }
}

run "an_unknown_nat_mode_is_refused" {
  command = plan

  variables {
    nat_mode = "many"
  }

  expect_failures = [var.nat_mode]
}

run "an_endpoint_with_its_region_is_refused" {
  command = plan

  variables {
    interface_endpoints = ["com.amazonaws.eu-central-1.ecr.api/"]
  }

  expect_failures = [var.interface_endpoints]
}

run "an_endpoint_of_s3_is_refused" {
  command = plan

  variables {
    interface_endpoints = ["s3"]
  }

  expect_failures = [var.interface_endpoints]
}

run "a_private_cluster_without_its_endpoints_is_refused" {
  command = plan

  variables {
    nat_mode            = "none"
    interface_endpoints = ["sts"]
  }

  expect_failures = [var.interface_endpoints]
}

run "a_private_cluster_has_its_endpoints_by_itself" {
  command = plan

  variables {
    nat_mode = "none"
  }

  assert {
    condition     = length(local.interface_endpoints) == 10
    error_message = "All endpoints of a private cluster must be there."
  }

  assert {
    condition     = length(output.nat_addresses) == 0
    error_message = "No NAT gateway may be there."
  }
}

run "more_endpoints_than_needed_are_taken" {
  command = plan

  variables {
    nat_mode            = "none"
    interface_endpoints = ["autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticloadbalancing", "logs", "secretsmanager", "sts", "kms"]
  }

  assert {
    condition     = length(local.interface_endpoints) == 11
    error_message = "One more endpoint must be taken."
  }
}

run "with_nat_there_are_no_endpoints" {
  command = plan

  variables {
    nat_mode = "per_az"
  }

  assert {
    condition     = length(local.interface_endpoints) == 0
    error_message = "Endpoints cost money where NAT is."
  }
}
