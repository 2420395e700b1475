# The root that is applied once per account, with a mocked AWS.

mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_iam_policy_document" {
    defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
  }
}

variables {
  region     = "eu-central-1"
  account_id = "123456789012"
}

run "the_bucket_is_named_after_product_and_account" {
  command = plan

  assert {
    condition     = aws_s3_bucket.state.bucket == "sluice-state-123456789012"
    error_message = "The backend files of envs/ name this bucket."
  }
}

run "states_are_kept_encrypted_and_from_the_public" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.state.versioning_configuration[0].status == "Enabled"
    error_message = "A lost state can be brought back."
  }

  assert {
    condition     = aws_kms_key.state.enable_key_rotation
    error_message = "The key is rotated."
  }
}

run "somebody_else_s_identity_provider_is_left_alone" {
  command = plan

  variables {
    github_oidc_provider = false
  }

  assert {
    condition     = length(aws_iam_openid_connect_provider.github) == 0
    error_message = "An account has one provider for an issuer."
  }
}

run "a_project_with_capitals_is_refused" {
  command = plan

  variables {
    project = "Sluice"
  }

  expect_failures = [var.project]
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

run "an_account_of_11_digits_is_refused" {
  command = plan

  variables {
    account_id = "12345678901"
  }

  expect_failures = [var.account_id]
}

run "a_history_of_29_days_is_refused" {
  command = plan

  variables {
    state_history_days = 29
  }

  expect_failures = [var.state_history_days]
}

run "a_history_of_30_days_is_taken" {
  command = plan

  variables {
    state_history_days = 30
  }
}

run "workflows_plan_by_reading_and_apply_from_their_environment" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22 }
  }

  assert {
    condition     = { for name, one in aws_iam_role_policy_attachment.terraform : name => one.policy_arn } == { plan = "arn:aws:iam::aws:policy/ReadOnlyAccess", apply = "arn:aws:iam::aws:policy/AdministratorAccess" }
    error_message = "A pull request reads; what is applied goes through the environment's reviewers."
  }

  assert {
    condition     = jsonencode(local.github_subjects) == jsonencode(["repo:acme/sluice", "repo:acme@11/sluice@22"]) && local.terraform_roles["plan"].context == "pull_request" && local.terraform_roles["apply"].context == "environment:terraform"
    error_message = "Both forms of GitHub's subject, each exactly."
  }
}

run "an_apply_has_hours" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22 }
  }

  assert {
    condition     = { for name, one in aws_iam_role.terraform : name => one.max_session_duration } == { plan = 3600, apply = 14400 }
    error_message = "An upgrade of control plane, nodes and database takes longer than the hour of a session, and its end would lose the state."
  }
}

run "an_apply_from_any_branch_is_refused" {
  command = plan
  variables { github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22, apply_context = "ref:refs/heads/main" } }
  expect_failures = [var.github]
}

run "a_plan_from_where_is_applied_is_refused" {
  command = plan
  variables { github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22, plan_context = "environment:terraform" } }
  expect_failures = [var.github]
}

run "a_boundary_by_its_name_is_refused" {
  command = plan
  variables { permissions_boundary_arn = "boundary" }
  expect_failures = [var.permissions_boundary_arn]
}
