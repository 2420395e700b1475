# Modes of the whole root, each from nothing: state_key gives every run a state of its own.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "a_region_with_too_few_zones_is_refused" {
  state_key = "a_region_with_too_few_zones_is_refused"
  command   = plan

  override_data {
    target = data.aws_availability_zones.usable
    values = { names = ["eu-central-1a", "eu-central-1b"] }
  }

  expect_failures = [terraform_data.rules]
}

# Two environments in one account: the second makes no registry, no signing key and no role of GitHub's, and hands over the first one's.
run "the_first_environment_makes_the_registry_and_the_builder" {
  state_key = "the_first_environment_makes_the_registry_and_the_builder"
  variables {
    github                       = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22 }
    destroy_protection           = false
    database_deletion_protection = false
  }

  assert {
    condition     = sort(keys(output.ci.role_arns)) == tolist(["push", "sign"]) && output.ci.signing_key == "awskms:///alias/sluice-dev-signing"
    error_message = "One registry, and one role for each purpose."
  }
}

run "the_second_environment_only_reads" {
  state_key = "the_second_environment_only_reads"
  variables {
    environment                  = "staging"
    registry_of                  = "dev"
    destroy_protection           = false
    database_deletion_protection = false
  }

  override_data {
    target = module.registry.data.aws_ecr_repository.shared
    values = { tags = {} }
  }

  assert {
    condition     = output.ci.role_arns == {} && output.ci.signing_key == "awskms:///alias/sluice-dev-signing" && output.ci.repositories["sluice"] == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice-dev/sluice"
    error_message = "It has the other one's images and key, and no role that could write them."
  }

  assert {
    condition     = yamldecode(output.helm_values).image.repository == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice-dev/sluice"
    error_message = "The chart pulls from the shared registry."
  }
}

run "irsa_puts_roles_into_the_chart" {
  state_key = "irsa_puts_roles_into_the_chart"
  variables {
    workload_identity            = "irsa"
    destroy_protection           = false
    database_deletion_protection = false
  }

  assert {
    condition     = yamldecode(output.helm_values).serviceAccount.service.annotations["eks.amazonaws.com/role-arn"] == "arn:aws:iam::123456789012:role/mocked"
    error_message = "With IRSA the ServiceAccount carries the role."
  }
}

run "a_private_cluster_speaks_to_aws_inside_the_vpc" {
  state_key = "a_private_cluster_speaks_to_aws_inside_the_vpc"
  variables {
    nat_mode                     = "none"
    destroy_protection           = false
    database_deletion_protection = false
  }

  assert {
    condition     = yamldecode(output.helm_values).networkPolicy.aws.to[0].ipBlock.cidr == "10.0.0.0/16" && output.nat_addresses == []
    error_message = "AWS answers inside the VPC only."
  }

  assert {
    condition     = contains(keys(output.mirrors), "quay/argoproj/argocd") && jsondecode(yamldecode(output.argocd_cluster_secret).metadata.annotations["image_cache_prefixes"]) == { ecr-public = "sluice-dev/ecr-public", k8s = "sluice-dev/k8s", quay = "sluice-dev/quay" }
    error_message = "Without a way to the internet the cache fetches nothing: images are copied to the same names."
  }
}

run "govcloud_caches_no_public_registries" {
  state_key = "govcloud_caches_no_public_registries"
  variables {
    region                       = "us-gov-west-1"
    destroy_protection           = false
    database_deletion_protection = false
  }

  assert {
    condition     = jsondecode(yamldecode(output.argocd_cluster_secret).metadata.annotations["image_cache_prefixes"]) == {} && output.mirrors == {}
    error_message = "ECR has no pull-through cache in GovCloud; nodes pull from the internet."
  }
}

run "auto_mode_has_no_controllers_of_ours" {
  state_key = "auto_mode_has_no_controllers_of_ours"
  variables {
    compute_mode                 = "auto"
    node_groups                  = {}
    destroy_protection           = false
    database_deletion_protection = false
  }

  assert {
    condition     = yamldecode(output.argocd_cluster_secret).metadata.labels["enable_load_balancer_controller"] == "false" && yamldecode(output.argocd_cluster_secret).metadata.annotations["cluster_autoscaler_namespace"] == ""
    error_message = "Auto mode brings both controllers along; the keys stay, empty."
  }

  assert {
    condition     = yamldecode(output.helm_values).networkPolicy.dns.to == [{ ipBlock = { cidr = "172.20.0.10/32" } }]
    error_message = "DNS is no pod there: its address is the tenth of the Services."
  }

  assert {
    condition     = [for one in split("---\n", output.cluster_manifests) : yamldecode(one).kind] == ["ConfigMap", "StorageClass", "IngressClassParams", "IngressClass"] && yamldecode(split("---\n", output.cluster_manifests)[0]).data["enable-network-policy-controller"] == "true"
    error_message = "Until its ConfigMap is there, auto mode takes NetworkPolicies and enforces none."
  }

  assert {
    condition     = strcontains(output.argocd_bootstrap, "cluster_manifests | kubectl apply") && yamldecode(output.argocd_cluster_secret).metadata.annotations["node_architectures"] == "amd64"
    error_message = "They are applied before Argo CD; and its general pool is amd64."
  }
}

run "an_empty_access_list_is_warned_of" {
  state_key = "an_empty_access_list_is_warned_of"
  command   = plan
  variables { cluster_access = {} }
  expect_failures = [check.somebody_may_use_the_cluster]
}

run "a_single_nat_gateway_in_prod_is_warned_of" {
  state_key = "a_single_nat_gateway_in_prod_is_warned_of"
  command   = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "single"
    log_retention_days             = 365
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    database_instance_class        = "db.m7g.large"
  }

  expect_failures = [check.prod_survives_a_zone]
}

run "a_burstable_database_in_prod_is_warned_of" {
  state_key = "a_burstable_database_in_prod_is_warned_of"
  command   = plan

  variables {
    environment                    = "prod"
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    database_instance_class        = "db.t4g.large"
  }

  expect_failures = [check.database_is_not_burstable]
}

run "a_public_api_in_production_is_warned_of" {
  state_key = "a_public_api_in_production_is_warned_of"
  command   = plan

  variables {
    environment                    = "live"
    production                     = true
    nat_mode                       = "per_az"
    log_retention_days             = 365
    database_multi_az              = true
    database_backup_retention_days = 14
    database_monitoring_interval   = 60
    database_instance_class        = "db.m7g.large"
    cluster_public_access_cidrs    = ["203.0.113.0/24"]
  }

  expect_failures = [check.api_is_private]
}
