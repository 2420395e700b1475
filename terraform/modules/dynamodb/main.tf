# A table of DynamoDB for events instead of PostgreSQL, as `sluice migrate` makes it: on-demand capacity, two indexes, time to live, a key of its
# own, recovery to any moment, and who may use it.

module "key" {
  source = "../key"

  name                 = "${var.name}-dynamodb"
  description          = "Events of ${var.name}"
  account              = var.account
  deletion_window_days = var.key_deletion_window_days
}

# tests/platform/test_stores.py compares keys, indexes and time to live with what `sluice migrate` makes.
resource "aws_dynamodb_table" "this" {
  name                        = "${var.name}-events"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "id"
  deletion_protection_enabled = var.deletion_protection

  dynamic "attribute" {
    for_each = toset(["at", "id", "shard", "type_shard"])

    content {
      name = attribute.key
      type = "S"
    }
  }

  dynamic "global_secondary_index" {
    for_each = { by_time = "shard", by_type = "type_shard" }

    content {
      name            = global_secondary_index.key
      hash_key        = global_secondary_index.value
      range_key       = "at"
      projection_type = "KEYS_ONLY"
    }
  }

  ttl {
    enabled        = true
    attribute_name = "expires_at"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = module.key.arn
  }
}

# DynamoDB reads the table's key in the name of who calls it, also for a put (aws/aws-cdk issue 10010).
data "aws_iam_policy_document" "key" {
  statement {
    sid       = "UseTheTablesKey"
    actions   = ["kms:Decrypt"]
    resources = [module.key.arn]

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["dynamodb.${var.account.region}.amazonaws.com"]
    }
  }
}

# Nobody deletes: what expired goes by itself.
data "aws_iam_policy_document" "service" {
  source_policy_documents = [data.aws_iam_policy_document.key.json]

  statement {
    sid       = "ReadAndWriteItems"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem"]
    resources = [aws_dynamodb_table.this.arn]
  }

  statement {
    sid       = "ReadIndexes"
    actions   = ["dynamodb:Query"]
    resources = [for name in ["by_time", "by_type"] : "${aws_dynamodb_table.this.arn}/index/${name}"]
  }
}

# The table is Terraform's, so `sluice migrate` finds nothing to make: it looks, and writes the one item that describes the table.
data "aws_iam_policy_document" "migrate" {
  source_policy_documents = [data.aws_iam_policy_document.key.json]

  statement {
    sid       = "LookAndDescribe"
    actions   = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:UpdateItem"]
    resources = [aws_dynamodb_table.this.arn]
  }
}

resource "aws_iam_role_policy" "service" {
  for_each = var.service_role_names

  name   = "dynamodb"
  role   = each.value
  policy = data.aws_iam_policy_document.service.json
}

resource "aws_iam_role_policy" "migrate" {
  name   = "dynamodb"
  role   = var.migrate_role_name
  policy = data.aws_iam_policy_document.migrate.json
}
