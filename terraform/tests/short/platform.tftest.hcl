# The whole root: what is chosen once, what is warned of, what is handed over.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment        = "dev"
  region             = "eu-central-1"
  account_id         = "123456789012"
  destroy_protection = false
  cluster_access     = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins", policy = "AmazonEKSClusterAdminPolicy" } }
  # Both would otherwise be true, and so refuse the end of this test.
  database_deletion_protection = false
}

run "one_apply_makes_everything" {
  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22 }
    gitops = { repository = "https://example.org/acme/sluice.git" }
  }

  assert {
    condition     = terraform_data.guard.output.protected == false && output.monthly_estimate.total > 0
    error_message = "Everything must be made, and have a price."
  }

  assert {
    condition     = toset(keys(output.ci.role_arns)) == toset(["push", "sign"]) && output.ci.signing_key == "awskms:///alias/sluice-dev-signing"
    error_message = "One role for each purpose of GitHub's workflows."
  }

  assert {
    condition     = startswith(output.argocd_bootstrap, "aws eks update-kubeconfig --region eu-central-1 --name sluice-dev ")
    error_message = "The command must name region and cluster."
  }

  assert {
    condition     = output.database_ca_url == "https://truststore.pki.rds.amazonaws.com/eu-central-1/eu-central-1-bundle.pem"
    error_message = "The address must be of this region."
  }
}

run "the_chart_is_told_what_it_needs" {
  command = plan

  assert {
    condition     = yamldecode(output.helm_values).database.iamAuth && yamldecode(output.helm_values).database.maxConnections == 400 && yamldecode(output.helm_values).database.user == "sluice_app"
    error_message = "The service logs in by IAM tokens, and the pool guard knows the number."
  }

  assert {
    condition     = yamldecode(output.helm_values).serviceAccount == { service = { name = "sluice", annotations = {} }, migrate = { name = "sluice-migrate", annotations = {} } }
    error_message = "With Pod Identity no ARN enters the chart."
  }

  assert {
    condition     = [for peer in yamldecode(output.helm_values).networkPolicy.database.to : peer.ipBlock.cidr] == ["10.0.216.0/21", "10.0.224.0/21", "10.0.232.0/21"]
    error_message = "Pods reach the data subnets, and no other database."
  }
}

run "the_load_balancer_controller_is_told_what_it_cannot_find_out" {
  command = plan

  assert {
    condition = yamldecode(yamldecode(output.argocd_cluster_secret).metadata.annotations["load_balancer_controller_helm_values"]) == {
      clusterName    = "sluice-dev", region = "eu-central-1", vpcId = yamldecode(output.argocd_cluster_secret).metadata.annotations["vpc_id"]
      enableShield   = false, enableWaf = false, enableWafv2 = false
      defaultTags    = { Project = "sluice", Environment = "dev", ManagedBy = "terraform" }
      serviceAccount = { name = "aws-load-balancer-controller", annotations = {} }
    }
    error_message = "With hop limit 1 its pods cannot ask for region and VPC, its role has no right to WAF and Shield, and what it makes has the tags of all."
  }

  assert {
    condition     = yamldecode(output.argocd_cluster_secret).metadata.annotations["node_architectures"] == "arm64" && output.cluster_manifests == ""
    error_message = "Nodes are Graviton, and bring nothing to apply by hand."
  }
}

run "argo_cd_is_told_without_a_credential" {
  command = plan

  assert {
    condition     = yamldecode(output.argocd_cluster_secret).metadata.labels["enable_load_balancer_controller"] == "true" && yamldecode(output.argocd_cluster_secret).metadata.labels["enable_external_dns"] == "false"
    error_message = "Labels say which controllers have a role."
  }

  assert {
    condition     = yamldecode(output.argocd_cluster_secret).stringData == { name = "sluice-dev", server = "https://kubernetes.default.svc", config = jsonencode({ tlsClientConfig = { insecure = false } }) }
    error_message = "The Secret holds no credential."
  }

  assert {
    condition     = yamldecode(yamldecode(output.argocd_cluster_secret).metadata.annotations["sluice_helm_values"]) == yamldecode(output.helm_values)
    error_message = "An ApplicationSet can pass the chart's values on."
  }
}

run "another_vpc_range_is_refused" {
  command = plan
  variables { vpc_cidr = "10.8.0.0/16" }
  expect_failures = [terraform_data.rules]
}

run "another_service_range_is_refused" {
  command = plan
  variables { cluster_service_cidr = "172.21.0.0/16" }
  expect_failures = [terraform_data.rules]
}

run "another_compute_mode_is_refused" {
  command = plan
  variables {
    compute_mode = "auto"
    node_groups  = {}
  }
  expect_failures = [terraform_data.rules]
}

run "another_database_name_is_refused" {
  command = plan
  variables { database_name = "events" }
  expect_failures = [terraform_data.rules]
}

run "another_environment_s_state_is_refused" {
  command = plan
  variables { environment = "staging" }
  expect_failures = [terraform_data.rules]
}
