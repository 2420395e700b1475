# Variables of the cluster: every rule with a refused sample, and what lies just inside it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "a_version_past_standard_support_is_refused" {
  command = plan

  variables {
    kubernetes_version = "1.34"
  }

  expect_failures = [var.kubernetes_version]
}

run "a_patch_version_is_refused" {
  command = plan

  variables {
    kubernetes_version = "1.35.2"
  }

  expect_failures = [var.kubernetes_version]
}

run "the_next_version_is_taken" {
  command = plan

  variables {
    kubernetes_version = "1.36"
  }

  assert {
    condition     = output.cluster.version == "1.36"
    error_message = "The version must reach the cluster."
  }
}

run "a_public_service_range_is_refused" {
  command = plan

  variables {
    cluster_service_cidr = "100.64.0.0/16"
  }

  expect_failures = [var.cluster_service_cidr]
}

run "a_service_range_of_25_is_refused" {
  command = plan

  variables {
    cluster_service_cidr = "172.20.0.0/25"
  }

  expect_failures = [var.cluster_service_cidr]
}

run "a_service_range_inside_the_vpc_is_refused" {
  command = plan

  variables {
    cluster_service_cidr = "10.0.128.0/20"
  }

  expect_failures = [var.cluster_service_cidr]
}

run "a_service_range_around_the_vpc_is_refused" {
  command = plan

  variables {
    cluster_service_cidr = "10.0.0.0/12"
  }

  expect_failures = [var.cluster_service_cidr]
}

run "a_service_range_beside_the_vpc_is_taken" {
  command = plan

  variables {
    cluster_service_cidr = "10.1.0.0/16"
  }

  assert {
    condition     = output.cluster.name == "sluice-dev"
    error_message = "A range beside the VPC must be taken."
  }
}

run "the_whole_internet_is_refused" {
  command = plan

  variables {
    cluster_public_access_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.cluster_public_access_cidrs]
}

run "half_the_internet_is_refused" {
  command = plan

  variables {
    cluster_public_access_cidrs = ["0.0.0.0/1"]
  }

  expect_failures = [var.cluster_public_access_cidrs]
}

run "a_name_is_no_range" {
  command = plan

  variables {
    cluster_public_access_cidrs = ["office"]
  }

  expect_failures = [var.cluster_public_access_cidrs]
}

run "a_range_of_ipv6_is_refused" {
  command = plan

  variables {
    cluster_public_access_cidrs = ["2001:db8::/32"]
  }

  expect_failures = [var.cluster_public_access_cidrs]
}

run "a_service_range_that_begins_inside_is_refused" {
  command = plan

  variables {
    cluster_service_cidr = "172.20.5.0/16"
  }

  expect_failures = [var.cluster_service_cidr]
}

run "a_wide_range_is_refused_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    cluster_public_access_cidrs    = ["203.0.0.0/16"]
  }

  expect_failures = [var.cluster_public_access_cidrs]
}

run "forty_one_ranges_are_refused" {
  command = plan

  variables {
    cluster_public_access_cidrs = [for number in range(41) : "203.0.113.${number}/32"]
  }

  expect_failures = [var.cluster_public_access_cidrs]
}

run "an_office_is_taken" {
  command = plan

  variables {
    cluster_public_access_cidrs = ["203.0.113.0/24"]
  }

  assert {
    condition     = length(var.cluster_public_access_cidrs) == 1
    error_message = "An office must be taken."
  }
}

run "an_unknown_log_is_refused" {
  command = plan

  variables {
    cluster_log_types = ["api", "etcd"]
  }

  expect_failures = [var.cluster_log_types]
}

run "prod_without_audit_log_is_refused" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    cluster_log_types              = ["api"]
  }

  expect_failures = [var.cluster_log_types]
}

run "no_log_is_taken_in_dev" {
  command = plan

  variables {
    cluster_log_types = []
  }

  assert {
    condition     = length(var.cluster_log_types) == 0
    error_message = "A destroy stops the logs first."
  }
}

run "a_session_is_no_principal" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:sts::123456789012:assumed-role/a/b" } }
  }

  expect_failures = [var.cluster_access]
}

run "root_is_no_principal" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:iam::123456789012:root" } }
  }

  expect_failures = [var.cluster_access]
}

run "an_unknown_policy_is_refused" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:iam::123456789012:role/a", policy = "cluster-admin" } }
  }

  expect_failures = [var.cluster_access]
}

run "an_admin_of_a_namespace_only_is_refused" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:iam::123456789012:role/a", policy = "AmazonEKSClusterAdminPolicy", namespaces = ["sluice"] } }
  }

  expect_failures = [var.cluster_access]
}

run "an_editor_of_everything_is_refused" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:iam::123456789012:role/a", policy = "AmazonEKSEditPolicy" } }
  }

  expect_failures = [var.cluster_access]
}

run "a_principal_twice_is_refused" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:iam::123456789012:role/a" }, b = { principal_arn = "arn:aws:iam::123456789012:role/a" } }
  }

  expect_failures = [var.cluster_access]
}

run "an_editor_of_a_namespace_is_taken" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:iam::123456789012:role/a", policy = "AmazonEKSEditPolicy", namespaces = ["sluice"] } }
  }

  assert {
    condition     = length(var.cluster_access) == 1
    error_message = "An editor of a namespace must be taken."
  }
}

run "an_unknown_compute_mode_is_refused" {
  command = plan

  variables {
    compute_mode = "fargate"
    node_groups  = {}
  }

  expect_failures = [var.compute_mode]
}

run "auto_mode_with_node_groups_is_refused" {
  command = plan

  variables {
    compute_mode = "auto"
  }

  expect_failures = [var.node_groups]
}

run "managed_mode_without_node_groups_is_refused" {
  command = plan

  variables {
    node_groups = {}
  }

  expect_failures = [var.node_groups]
}

run "a_node_group_with_capitals_is_refused" {
  command = plan

  variables {
    node_groups = { General = { instance_types = ["t4g.large"] } }
  }

  expect_failures = [var.node_groups]
}

run "a_node_group_without_instance_types_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = [] } }
  }

  expect_failures = [var.node_groups]
}

run "an_instance_type_without_size_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g"] } }
  }

  expect_failures = [var.node_groups]
}

run "a_mix_of_architectures_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["m7g.large", "m7i.large"] } }
  }

  expect_failures = [var.node_groups]
}

run "a_start_below_the_least_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large"], min_size = 3, desired_size = 2 } }
  }

  expect_failures = [var.node_groups]
}

run "a_start_above_the_most_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large"], max_size = 3, desired_size = 4 } }
  }

  expect_failures = [var.node_groups]
}

run "a_hundred_and_one_nodes_are_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large"], max_size = 101 } }
  }

  expect_failures = [var.node_groups]
}

run "a_disk_of_10_gib_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large"], disk_gib = 10 } }
  }

  expect_failures = [var.node_groups]
}

run "an_unknown_capacity_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large"], capacity_type = "FREE" } }
  }

  expect_failures = [var.node_groups]
}

run "an_unknown_taint_is_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large"], taints = [{ key = "a", effect = "NoSchedule" }] } }
  }

  expect_failures = [var.node_groups]
}

run "prod_on_spot_only_is_refused" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    node_groups                    = { general = { instance_types = ["t4g.large"], capacity_type = "SPOT" } }
  }

  expect_failures = [var.node_groups]
}

run "a_spot_group_beside_an_on_demand_one_is_taken_in_prod" {
  command = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_instance_class        = "db.m7g.large"
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    node_groups = {
      general = { instance_types = ["m7g.large"] }
      burst   = { instance_types = ["c7g.large", "m7g.large"], min_size = 0, desired_size = 0, capacity_type = "SPOT", taints = [{ key = "burst", effect = "NO_SCHEDULE" }] }
    }
  }

  assert {
    condition     = local.node_architectures["burst"] == "arm64"
    error_message = "Graviton must be recognised."
  }
}

run "x86_is_recognised" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["m7i.large", "m6a.large", "g5.xlarge"] } }
  }

  assert {
    condition     = local.node_architectures["general"] == "x86_64"
    error_message = "g5 is a GPU family of x86."
  }
}

run "all_graviton_families_are_recognised" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large", "c7gn.large", "im4gn.large", "r8gd.large"] } }
  }

  assert {
    condition     = local.node_architectures["general"] == "arm64"
    error_message = "Letters after the g belong to Graviton families too."
  }
}

run "an_unknown_workload_identity_is_refused" {
  command = plan

  variables {
    workload_identity = "kiam"
  }

  expect_failures = [var.workload_identity]
}

run "a_version_of_an_unknown_addon_is_refused" {
  command = plan

  variables {
    addon_versions = { istio = "v1.0.0-eksbuild.1" }
  }

  expect_failures = [var.addon_versions]
}

run "an_addon_version_of_another_form_is_refused" {
  command = plan

  variables {
    addon_versions = { coredns = "1.12" }
  }

  expect_failures = [var.addon_versions]
}

run "a_pinned_addon_is_taken" {
  command = plan

  variables {
    addon_versions = { coredns = "v1.12.4-eksbuild.1" }
  }

  assert {
    condition     = var.addon_versions["coredns"] == "v1.12.4-eksbuild.1"
    error_message = "A pinned version must be taken."
  }
}

run "a_group_of_the_system_is_refused" {
  command = plan

  variables {
    cluster_access = { a = { principal_arn = "arn:aws:iam::123456789012:role/a", kubernetes_groups = ["system:masters"] } }
  }

  expect_failures = [var.cluster_access]
}

run "seven_pods_on_a_node_are_refused" {
  command = plan

  variables {
    node_groups = { general = { instance_types = ["t4g.large"], max_pods = 7 } }
  }

  expect_failures = [var.node_groups]
}
