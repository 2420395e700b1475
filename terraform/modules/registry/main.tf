# An environment either makes the registry of its account, or reads the one that another environment made.
locals {
  makes        = var.shared_by == null
  owner        = coalesce(var.shared_by, var.name)
  repositories = local.makes ? var.repositories : []
  upstream_set = local.makes ? var.pull_through_cache : []

  known = local.makes ? { for name, made in aws_ecr_repository.this : name => { arn = made.arn, repository_url = made.repository_url } } : {
    for name, found in data.aws_ecr_repository.shared : name => { arn = found.arn, repository_url = found.repository_url }
  }
}

data "aws_ecr_repository" "shared" {
  for_each = local.makes ? [] : var.repositories

  name = each.key
}

module "key" {
  source = "../key"
  count  = local.makes ? 1 : 0

  name                 = "${var.name}-registry"
  description          = "Images of ${var.name}"
  account              = var.account
  deletion_window_days = var.key_deletion_window_days
}

resource "aws_ecr_repository" "this" {
  for_each = local.repositories

  name                 = each.key
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

locals {
  # An image that a rule of a lower number keeps is out of reach of the later ones (ECR user guide, "How lifecycle policies work").
  # So what is deployed is kept by a tag of its own, which the GitOps role sets, however many releases follow.
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

resource "aws_ecr_pull_through_cache_rule" "this" {
  for_each = local.upstream_set

  ecr_repository_prefix = "${var.name}/${each.key}"
  upstream_registry_url = local.upstreams[each.key]
}

# Copies of public images: their tags move when upstream's do, and what is no longer pulled goes. Terraform does not know these repositories, so
# runbook destroy.md tells how to remove them.
resource "aws_ecr_repository_creation_template" "cache" {
  for_each = local.upstream_set

  prefix               = aws_ecr_pull_through_cache_rule.this[each.key].ecr_repository_prefix
  description          = "Cache of ${each.key}"
  applied_for          = ["PULL_THROUGH_CACHE"]
  image_tag_mutability = "MUTABLE"

  lifecycle_policy = jsonencode({ rules = [{
    rulePriority = 1
    description  = "drop copies after ninety days; the next pull makes a new one"
    selection    = { tagStatus = "any", countType = "sinceImagePushed", countUnit = "days", countNumber = 90 }
    action       = { type = "expire" }
  }] })
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
}

data "aws_kms_public_key" "signing" {
  key_id = local.makes ? module.signing_key[0].arn : "alias/${local.owner}-signing"
}
