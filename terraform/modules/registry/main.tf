# An environment either makes a registry, or reads the one that another environment made, in this account or in another.
locals {
  makes        = var.shared_by == null
  owner        = local.makes ? { name = var.name, account_id = var.account.id } : var.shared_by
  elsewhere    = local.owner.account_id != var.account.id
  repositories = local.makes ? var.repositories : []
  # A cache is used from its own account only, so who reads another account's images has a cache of its own.
  caches       = local.makes || local.elsewhere
  cache_name   = local.elsewhere ? var.name : local.owner.name
  upstream_set = local.caches ? var.pull_through_cache : []

  host    = "${local.owner.account_id}.dkr.ecr.${var.account.region}.${var.account.partition == "aws-cn" ? "amazonaws.com.cn" : "amazonaws.com"}"
  ecr_arn = "arn:${var.account.partition}:ecr:${var.account.region}"
  # Of its owner: two environments in one account have nothing of the same name.
  names = { for name in var.repositories : name => "${local.owner.name}/${name}" }
  known = { for name, full in local.names : name => {
    arn            = local.makes ? aws_ecr_repository.this[name].arn : "${local.ecr_arn}:${local.owner.account_id}:repository/${full}"
    repository_url = local.makes ? aws_ecr_repository.this[name].repository_url : "${local.host}/${full}"
  } }
}

# Whose images go when its environment is destroyed is no registry for others. Read for its rule only.
# tflint-ignore: terraform_unused_declarations
data "aws_ecr_repository" "shared" {
  for_each = local.makes || local.elsewhere ? {} : local.names

  name = each.value

  lifecycle {
    postcondition {
      condition     = !contains(keys(self.tags), "ForceDelete")
      error_message = "Repository ${each.value} is deleted with its images when ${local.owner.name} is destroyed. Set repository_force_delete to false there and apply, or name another environment in registry_of."
    }
  }
}

module "key" {
  source = "../key"
  count  = local.makes || length(var.mirrored_repositories) > 0 && local.caches ? 1 : 0

  name                 = "${var.name}-registry"
  description          = "Images of ${var.name}"
  account              = var.account
  deletion_window_days = var.key_deletion_window_days
}

resource "aws_ecr_repository" "this" {
  for_each = local.repositories

  name                 = local.names[each.key]
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.force_delete
  # For readers in this account, who are refused by it.
  tags = var.force_delete ? { ForceDelete = "true" } : {}

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = module.key[0].arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

locals {
  # An image that a rule of a lower number keeps is out of reach of the later ones (ECR user guide, "How lifecycle policies work").
  # So what is deployed is kept by a tag of its own, which tools/release/keep.sh sets, however many releases follow.
  selections = [
    { tagPatternList = ["deployed-*"], countType = "imageCountMoreThan", countNumber = var.retention.deployed },
    { tagPatternList = ["v*"], countType = "imageCountMoreThan", countNumber = var.retention.releases },
    { tagPatternList = ["sha-*"], countType = "imageCountMoreThan", countNumber = var.retention.builds },
    { tagPatternList = ["pr-*"], countType = "sinceImagePushed", countUnit = "days", countNumber = var.retention.pull_request_days },
    { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = var.retention.untagged_days },
  ]
  descriptions = [
    "keep what is or was deployed",
    "keep the newest releases",
    "keep the newest builds",
    "drop images of old pull requests",
    "drop what has no tag",
  ]
  rules = [for place, selection in local.selections : {
    rulePriority = place + 1
    description  = local.descriptions[place]
    selection    = merge({ tagStatus = "tagged" }, selection)
    action       = { type = "expire" }
  }]
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = aws_ecr_repository.this

  repository = each.value.name
  policy     = jsonencode({ rules = local.rules })
}

# Other accounts pull what was built here, by digest. ECR decrypts for them; they need no right to the key (ECR user guide, "Encryption at rest").
data "aws_iam_policy_document" "readers" {
  count = length(var.reader_account_ids) > 0 ? 1 : 0

  statement {
    sid = "PullFromOtherAccounts"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:DescribeImages", "ecr:GetDownloadUrlForLayer", "ecr:ListImages",
    ]

    principals {
      type        = "AWS"
      identifiers = local.reader_roots
    }
  }
}

resource "aws_ecr_repository_policy" "readers" {
  for_each = length(var.reader_account_ids) > 0 ? aws_ecr_repository.this : {}

  repository = each.value.name
  policy     = data.aws_iam_policy_document.readers[0].json
}

resource "aws_ecr_pull_through_cache_rule" "this" {
  for_each = local.upstream_set

  ecr_repository_prefix = "${local.cache_name}/${each.key}"
  upstream_registry_url = local.upstreams[each.key]
}

# Copies of public images: their tags move when upstream's do, and each goes in time. By its age, for ECR does not delete by the last pull.
# Terraform does not know these repositories, so runbook destroy.md tells how to remove them.
resource "aws_ecr_repository_creation_template" "cache" {
  for_each = local.upstream_set

  prefix               = aws_ecr_pull_through_cache_rule.this[each.key].ecr_repository_prefix
  description          = "Cache of ${each.key}"
  applied_for          = ["PULL_THROUGH_CACHE"]
  image_tag_mutability = "MUTABLE"

  lifecycle_policy = jsonencode({ rules = [{
    rulePriority = 1
    description  = "drop copies after 180 days; the next pull makes a new one"
    selection    = { tagStatus = "any", countType = "sinceImagePushed", countUnit = "days", countNumber = 180 }
    action       = { type = "expire" }
  }] })
}

locals {
  reader_roots = [for id in sort(var.reader_account_ids) : "arn:${var.account.partition}:iam::${id}:root"]
}

# Who pulls verifies what it pulls.
data "aws_iam_policy_document" "verifiers" {
  count = length(var.reader_account_ids) > 0 ? 1 : 0

  statement {
    sid       = "VerifyInOtherAccounts"
    actions   = ["kms:DescribeKey", "kms:GetPublicKey", "kms:Verify"]
    resources = ["*"]

    principals {
      type        = "AWS"
      identifiers = local.reader_roots
    }
  }
}

# Where no pull reaches the internet, somebody who does copies public images here (docs/runbooks/private.md), under the names that the cache
# would give them. They stay until they are deleted by hand: nothing could bring them back by itself.
resource "aws_ecr_repository" "mirror" {
  for_each = local.caches ? var.mirrored_repositories : []

  name                 = "${local.cache_name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = var.force_delete

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = module.key[0].arn
  }

  image_scanning_configuration {
    scan_on_push = true
  }
}

# Images are signed with this key by cosign (awskms://), and verified with its public half. Only the sign role may use it.
module "signing_key" {
  source = "../key"
  count  = local.makes ? 1 : 0

  name                 = "${var.name}-signing"
  description          = "Signs the images of ${var.name}"
  account              = var.account
  signing              = true
  deletion_window_days = var.key_deletion_window_days
  policies             = data.aws_iam_policy_document.verifiers[*].json
}

locals {
  signing_alias     = local.makes ? module.signing_key[0].alias : "alias/${local.owner.name}-signing"
  signing_alias_arn = "arn:${var.account.partition}:kms:${var.account.region}:${local.owner.account_id}:${local.signing_alias}"
}

# By its alias's ARN, for it may be another account's.
data "aws_kms_public_key" "signing" {
  key_id = local.makes ? module.signing_key[0].arn : local.signing_alias_arn
}
