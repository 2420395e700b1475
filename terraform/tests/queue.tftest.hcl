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
    condition     = jsondecode(aws_sqs_queue.this.redrive_policy) == { deadLetterTargetArn = aws_sqs_queue.dead.arn, maxReceiveCount = 5 }
    error_message = "What fails five times is kept apart."
  }

  assert {
    condition     = aws_iam_role_policy.send.role == "sluice-dev-service" && !contains(data.aws_iam_policy_document.send.statement[0].actions, "sqs:ReceiveMessage") && data.aws_iam_policy_document.send.statement[0].resources == toset([aws_sqs_queue.this.arn])
    error_message = "The API sends and reads nothing."
  }
}
