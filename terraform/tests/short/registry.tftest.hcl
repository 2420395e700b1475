# The registry module. The emulator knows neither cache rules nor templates, so their answers are given here.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "sluice-dev"
  account                  = { id = "123456789012", partition = "aws", region = "eu-central-1" }
  repositories             = ["sluice"]
  retention                = { releases = 100, builds = 200, deployed = 500, pull_request_days = 14, untagged_days = 7 }
  force_delete             = false
  pull_through_cache       = ["ecr-public", "k8s", "quay"]
  key_deletion_window_days = 30
}

run "tags_never_move" {
  command = plan
  module { source = "./modules/registry" }

  assert {
    condition     = aws_ecr_repository.this["sluice"].image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this["sluice"].encryption_configuration[0].encryption_type == "KMS" && aws_ecr_repository.this["sluice"].image_scanning_configuration[0].scan_on_push
    error_message = "Immutable, encrypted by our key, scanned on push."
  }

  assert {
    condition     = aws_ecr_repository.this["sluice"].name == "sluice-dev/sluice"
    error_message = "Two environments in one account must not want the same repository."
  }

  assert {
    condition     = !aws_ecr_repository.this["sluice"].force_delete
    error_message = "Images are not deleted with their repository unless it is said."
  }
}

run "what_is_deployed_is_out_of_reach" {
  command = plan
  module { source = "./modules/registry" }

  assert {
    condition     = [for rule in local.rules : [rule.rulePriority, try(rule.selection.tagPatternList[0], ""), rule.selection.countNumber]] == [[1, "deployed-*", 500], [2, "v*", 100], [3, "sha-*", 200], [4, "pr-*", 14], [5, "", 7]]
    error_message = "What is deployed is kept by the first rule, and releases by number only."
  }

  assert {
    condition     = alltrue([for rule in local.rules : rule.selection.tagStatus != "any" && (rule.selection.countType == "imageCountMoreThan" || contains(["pr-*", ""], try(rule.selection.tagPatternList[0], "")))])
    error_message = "No rule of age may reach a release."
  }
}

run "the_cache_has_a_prefix_for_each_upstream" {
  module { source = "./modules/registry" }

  override_resource {
    target = aws_ecr_pull_through_cache_rule.this
    values = { registry_id = "123456789012" }
  }

  assert {
    condition     = output.cache_prefixes == { ecr-public = "sluice-dev/ecr-public", k8s = "sluice-dev/k8s", quay = "sluice-dev/quay" }
    error_message = "Each upstream has a prefix of its own under the environment's name."
  }

  assert {
    condition     = aws_ecr_repository_creation_template.cache["k8s"].applied_for == toset(["PULL_THROUGH_CACHE"]) && aws_ecr_repository_creation_template.cache["k8s"].prefix == "sluice-dev/k8s"
    error_message = "What the cache makes has a lifecycle."
  }
}

run "without_a_cache_there_is_no_rule" {
  command = plan
  module { source = "./modules/registry" }

  variables {
    pull_through_cache = []
  }

  assert {
    condition     = length(aws_ecr_pull_through_cache_rule.this) + length(aws_ecr_repository_creation_template.cache) == 0
    error_message = "The cache can be left out."
  }
}

run "images_are_signed_by_a_key_that_can_only_sign" {
  module { source = "./modules/registry" }

  assert {
    condition     = output.signing_key_uri == "awskms:///alias/sluice-dev-signing" && startswith(output.signing_public_key, "-----BEGIN PUBLIC KEY-----")
    error_message = "Signers need the alias, verifiers the public half."
  }
}

run "an_environment_that_shares_makes_nothing" {
  module { source = "./modules/registry" }

  variables {
    name      = "sluice-staging"
    shared_by = { name = "sluice-dev", account_id = "123456789012" }
  }

  override_data {
    target = data.aws_ecr_repository.shared
    values = { tags = {} }
  }

  assert {
    condition     = length(aws_ecr_repository.this) + length(aws_ecr_lifecycle_policy.this) + length(aws_ecr_pull_through_cache_rule.this) + length(aws_ecr_repository_creation_template.cache) + length(module.key) + length(module.signing_key) == 0
    error_message = "Who shares a registry makes no part of it."
  }

  assert {
    condition     = output.repository_urls == { sluice = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice-dev/sluice" } && output.repository_arns == ["arn:aws:ecr:eu-central-1:123456789012:repository/sluice-dev/sluice"] && output.signing_key_uri == "awskms:///alias/sluice-dev-signing" && output.cache_prefixes["k8s"] == "sluice-dev/k8s" && length(output.cache_prefixes) == 3
    error_message = "It hands over the owner's images, key and cache."
  }
}

run "images_that_go_with_their_environment_are_not_shared" {
  command = plan
  module { source = "./modules/registry" }

  variables {
    name      = "sluice-staging"
    shared_by = { name = "sluice-dev", account_id = "123456789012" }
  }

  override_data {
    target = data.aws_ecr_repository.shared
    values = { tags = { ForceDelete = "true" } }
  }

  expect_failures = [data.aws_ecr_repository.shared]
}

run "another_account_pulls_and_verifies" {
  command = plan
  module { source = "./modules/registry" }

  variables {
    reader_account_ids = ["210987654321"]
  }

  assert {
    condition     = keys(aws_ecr_repository_policy.readers) == ["sluice"] && local.reader_roots == ["arn:aws:iam::210987654321:root"]
    error_message = "The other account pulls what was built here."
  }

  assert {
    condition     = toset(flatten(data.aws_iam_policy_document.readers[0].statement[*].actions)) == toset(["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListImages"])
    error_message = "It cannot push."
  }
}

run "an_environment_of_another_account_reads_across" {
  module { source = "./modules/registry" }

  variables {
    name      = "sluice-prod"
    account   = { id = "210987654321", partition = "aws", region = "eu-central-1" }
    shared_by = { name = "sluice-dev", account_id = "123456789012" }
  }

  override_resource {
    target = aws_ecr_pull_through_cache_rule.this
    values = { registry_id = "210987654321" }
  }

  assert {
    condition     = output.repository_urls == { sluice = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice-dev/sluice" } && output.signing_key_uri == "awskms:///arn:aws:kms:eu-central-1:123456789012:alias/sluice-dev-signing" && length(aws_ecr_repository.this) + length(data.aws_ecr_repository.shared) == 0
    error_message = "Images and key are the owner's, and nothing of them is asked for in this account."
  }

  assert {
    condition     = output.cache_prefixes["k8s"] == "sluice-prod/k8s" && contains(output.cached_repository_arns, "arn:aws:ecr:eu-central-1:210987654321:repository/sluice-prod/k8s/*")
    error_message = "A cache cannot be used across accounts, so it has its own."
  }
}

run "a_signing_key_is_a_pair_that_is_not_rotated" {
  command = plan
  module { source = "./modules/key" }

  variables {
    description          = "signs"
    signing              = true
    deletion_window_days = 30
  }

  assert {
    condition     = aws_kms_key.this.key_usage == "SIGN_VERIFY" && aws_kms_key.this.customer_master_key_spec == "ECC_NIST_P256" && !aws_kms_key.this.enable_key_rotation
    error_message = "cosign needs a P-256 key, which KMS cannot rotate."
  }
}

run "a_key_that_encrypts_is_rotated" {
  command = plan
  module { source = "./modules/key" }

  variables {
    description          = "encrypts"
    deletion_window_days = 7
  }

  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.key_usage == "ENCRYPT_DECRYPT" && aws_kms_key.this.deletion_window_in_days == 7
    error_message = "Keys that encrypt are rotated every year."
  }
}
