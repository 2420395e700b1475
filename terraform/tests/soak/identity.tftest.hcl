# Variables of identity and hand-over: every rule with a refused sample, and what lies just inside it.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment    = "dev"
  region         = "eu-central-1"
  account_id     = "123456789012"
  cluster_access = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
}

run "namespace_default_is_refused" {
  command = plan

  variables {
    namespace = "default"
  }

  expect_failures = [var.namespace]
}

run "a_namespace_with_a_dot_is_refused" {
  command = plan

  variables {
    namespace = "a.b"
  }

  expect_failures = [var.namespace]
}

run "a_namespace_of_64_characters_is_refused" {
  command = plan

  variables {
    namespace = format("%064d", 0)
  }

  expect_failures = [var.namespace]
}

run "another_namespace_is_taken" {
  command = plan

  variables {
    namespace = "events"
  }

  assert {
    condition     = local.service_accounts["service"].namespace == "events"
    error_message = "The namespace must reach the ServiceAccounts."
  }
}

run "an_owner_with_a_slash_is_refused" {
  command = plan

  variables {
    github = { owner = "acme/x", owner_id = 11, repository = "sluice", repository_id = 22 }
  }

  expect_failures = [var.github]
}

run "a_repository_with_a_wildcard_is_refused" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "*", repository_id = 22 }
  }

  expect_failures = [var.github]
}

run "an_id_of_zero_is_refused" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 0, repository = "sluice", repository_id = 22 }
  }

  expect_failures = [var.github]
}

run "a_context_with_a_wildcard_is_refused" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22, push_context = "ref:refs/heads/*" }
  }

  expect_failures = [var.github]
}

run "pull_requests_are_refused" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22, push_context = "pull_request" }
  }

  expect_failures = [var.github]
}

run "a_context_for_two_purposes_is_refused" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22, push_context = "environment:x", sign_context = "environment:x" }
  }

  expect_failures = [var.github]
}

run "a_context_that_is_the_default_of_another_is_refused" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22, push_context = "environment:registry-sign" }
  }

  expect_failures = [var.github]
}

run "contexts_have_defaults" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22 }
  }

  assert {
    condition     = [local.github_contexts["push"], local.github_contexts["sign"]] == ["environment:registry-push", "environment:registry-sign"]
    error_message = "The defaults must be environments that tools/protect.sh makes."
  }

  assert {
    condition     = length(output.ci.role_arns) == 2
    error_message = "Two roles must be made."
  }
}

run "a_branch_and_a_tag_are_taken" {
  command = plan

  variables {
    github = { owner = "acme", owner_id = 11, repository = "sluice", repository_id = 22, push_context = "ref:refs/heads/main", sign_context = "ref:refs/tags/v1.0.0" }
  }

  assert {
    condition     = local.github_contexts["push"] == "ref:refs/heads/main"
    error_message = "A branch must be taken."
  }
}

run "a_zone_with_its_path_is_refused" {
  command = plan

  variables {
    route53_zone_ids = ["/hostedzone/Z0123456789ABCDEFGHIJ"]
  }

  expect_failures = [var.route53_zone_ids]
}

run "a_zone_is_taken" {
  command = plan

  variables {
    route53_zone_ids = ["Z0123456789ABCDEFGHIJ"]
  }

  assert {
    condition     = length(var.route53_zone_ids) == 1
    error_message = "A zone must be taken."
  }
}

run "a_gitops_url_with_a_password_is_refused" {
  command = plan

  variables {
    gitops = { repository = "https://me:secret@example.org/x.git" }
  }

  expect_failures = [var.gitops]
}

run "a_gitops_path_without_scheme_is_refused" {
  command = plan

  variables {
    gitops = { repository = "example.org/x.git" }
  }

  expect_failures = [var.gitops]
}

run "revision_head_is_refused" {
  command = plan

  variables {
    gitops = { repository = "https://example.org/x.git", revision = "HEAD" }
  }

  expect_failures = [var.gitops]
}

run "a_gitops_url_by_ssh_is_taken" {
  command = plan

  variables {
    gitops = { repository = "git@example.org:acme/x.git" }
  }

  assert {
    condition     = var.gitops.revision == "main"
    error_message = "The revision must have a default."
  }
}
