# The queue module.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "messages_are_encrypted_and_dead_letters_kept" {
  module { source = "./modules/queue" }

  variables {
    name          = "sluice-dev"
    account       = { id = "123456789012", partition = "aws", region = "eu-central-1" }
    cluster       = { name = "sluice-dev", arn = "arn:aws:eks:eu-central-1:123456789012:cluster/sluice-dev", workload_identity = "pod_identity" }
    api_role_name = "sluice-dev-service"
  }

  assert {
    condition     = alltrue([for one in [aws_sqs_queue.this, aws_sqs_queue.dead] : one.kms_master_key_id == module.key.arn && one.message_retention_seconds == 1209600])
    error_message = "Both queues are encrypted by the queue's key and keep messages for 14 days."
  }

  assert {
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 50 }
    error_message = "What kills its worker each time is kept apart, and nothing that only saw workers stop."
  }

  assert {
    condition     = output.queue_url == "sqs://eu-central-1/sluice-dev-" && [aws_sqs_queue.this.name, aws_sqs_queue.dead.name] == ["sluice-dev-logs", "sluice-dev-logs-dead"]
    error_message = "Sluice finds both queues by one URL."
  }

  assert {
    condition     = length(module.scaler) == 0
    error_message = "KEDA has a role only where it is named."
  }

  assert {
    condition     = aws_iam_role_policy.send.role == "sluice-dev-service" && !contains(data.aws_iam_policy_document.send.statement[0].actions, "sqs:ReceiveMessage") && data.aws_iam_policy_document.send.statement[0].resources == toset([aws_sqs_queue.this.arn])
    error_message = "The API sends and reads nothing."
  }
}

run "keda_may_count_messages_and_read_none" {
  module { source = "./modules/queue" }

  variables {
    name                   = "sluice-dev"
    account                = { id = "123456789012", partition = "aws", region = "eu-central-1" }
    cluster                = { name = "sluice-dev", arn = "arn:aws:eks:eu-central-1:123456789012:cluster/sluice-dev", workload_identity = "pod_identity" }
    api_role_name          = "sluice-dev-service"
    scaler_service_account = { namespace = "keda", name = "keda-operator" }
  }

  assert {
    condition     = length(module.scaler) == 1 && data.aws_iam_policy_document.scale.statement[0].actions == toset(["sqs:GetQueueAttributes"]) && data.aws_iam_policy_document.scale.statement[0].resources == toset([aws_sqs_queue.this.arn])
    error_message = "KEDA's operator counts what waits in the one queue."
  }
}
