# A queue of SQS between the API and its worker, under the names that `QUEUE_URL=sqs://<region>/<name>-` means: encrypted by a key of its own,
# with a queue for dead letters, and who may send and receive.

locals {
  # Which Sluice keeps to. SQS takes 1048576; provider 5.100 stops here, newer ones do not.
  max_message_bytes = 262144
}

module "key" {
  source = "../key"

  name                 = "${var.name}-queue"
  description          = "Messages of ${var.name}"
  account              = var.account
  deletion_window_days = var.key_deletion_window_days
}

resource "aws_sqs_queue" "dead" {
  name                              = "${var.name}-logs-dead"
  max_message_size                  = local.max_message_bytes
  kms_master_key_id                 = module.key.arn
  kms_data_key_reuse_period_seconds = 3600
  message_retention_seconds         = 14 * 86400
}

resource "aws_sqs_queue" "this" {
  name                              = "${var.name}-logs"
  kms_master_key_id                 = module.key.arn
  kms_data_key_reuse_period_seconds = 3600
  message_retention_seconds         = 14 * 86400
  # Of others who receive: Sluice's own worker says 60 with each request, and prolongs them.
  visibility_timeout_seconds = 120
  receive_wait_time_seconds  = 20
  max_message_size           = local.max_message_bytes

  # The worker moves dead letters itself, with their reason. SQS moves what kills its worker each time.
  redrive_policy = jsonencode({ deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = var.max_receive_count })
}

# No other queue may send its dead letters there.
resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url            = aws_sqs_queue.dead.id
  redrive_allow_policy = jsonencode({ redrivePermission = "byQueue", sourceQueueArns = [aws_sqs_queue.this.arn] })
}

locals {
  queue_arns = [aws_sqs_queue.this.arn, aws_sqs_queue.dead.arn]
}

# A sender encrypts with a data key, which SQS also decrypts for it (SQS developer guide, "Configure KMS permissions for AWS services").
data "aws_iam_policy_document" "send" {
  statement {
    sid       = "Send"
    actions   = ["sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:SendMessage"]
    resources = [aws_sqs_queue.this.arn]
  }

  statement {
    sid       = "Encrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [module.key.arn]
  }
}

# The worker also looks at dead letters, sends them back and removes them.
data "aws_iam_policy_document" "receive" {
  statement {
    sid = "Receive"
    actions = [
      "sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:SendMessage",
    ]
    resources = local.queue_arns
  }

  statement {
    sid       = "Decrypt"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [module.key.arn]
  }
}

# The API has a role already (module identity); a ServiceAccount has one.
resource "aws_iam_role_policy" "send" {
  name   = "queue"
  role   = var.api_role_name
  policy = data.aws_iam_policy_document.send.json
}

data "aws_iam_policy_document" "worker" {
  source_policy_documents = concat([data.aws_iam_policy_document.receive.json], var.worker_policies)
}

# KEDA's operator asks how many messages wait.
data "aws_iam_policy_document" "scale" {
  statement {
    sid       = "Count"
    actions   = ["sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.this.arn]
  }
}

module "scaler" {
  source = "../workload_role"
  count  = var.scaler_service_account == null ? 0 : 1

  name                     = "${var.name}-scaler"
  account                  = var.account
  cluster                  = var.cluster
  namespace                = var.scaler_service_account.namespace
  service_account          = var.scaler_service_account.name
  policy                   = data.aws_iam_policy_document.scale.json
  permissions_boundary_arn = var.permissions_boundary_arn
}

module "worker" {
  source = "../workload_role"

  name                     = "${var.name}-worker"
  account                  = var.account
  cluster                  = var.cluster
  namespace                = var.worker_service_account.namespace
  service_account          = var.worker_service_account.name
  policy                   = data.aws_iam_policy_document.worker.json
  permissions_boundary_arn = var.permissions_boundary_arn
}
