# The table, and the root with queue and table instead of the database.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  account                      = { id = "123456789012", partition = "aws", region = "eu-central-1" }
  environment                  = "dev"
  region                       = "eu-central-1"
  account_id                   = "123456789012"
  cluster_access               = { admins = { principal_arn = "arn:aws:iam::123456789012:role/admins" } }
  destroy_protection           = false
  database_deletion_protection = false
}

run "events_are_encrypted_and_can_be_brought_back" {
  module { source = "./modules/dynamodb" }

  variables {
    name               = "sluice-dev"
    service_role_names = { service = "sluice-dev-service", worker = "sluice-dev-worker" }
    migrate_role_name  = "sluice-dev-migrate"
  }

  assert {
    condition     = aws_dynamodb_table.this.server_side_encryption[0].kms_key_arn == module.key.arn && aws_dynamodb_table.this.point_in_time_recovery[0].enabled && aws_dynamodb_table.this.deletion_protection_enabled
    error_message = "A key of its own, recovery to any moment, and no deletion by mistake."
  }

  assert {
    condition     = { for key, one in aws_iam_role_policy.service : key => one.role } == { service = "sluice-dev-service", worker = "sluice-dev-worker" } && aws_iam_role_policy.migrate.role == "sluice-dev-migrate"
    error_message = "Service and worker write events, the migration looks."
  }

  assert {
    condition     = !anytrue([for one in concat(data.aws_iam_policy_document.service.statement, data.aws_iam_policy_document.migrate.statement) : length(setintersection(one.actions, ["dynamodb:DeleteItem", "dynamodb:DeleteTable", "dynamodb:Scan", "dynamodb:UpdateTable"])) > 0])
    error_message = "Nobody deletes, scans or changes the table."
  }
}

run "nothing_is_made_by_itself" {
  state_key = "plain"

  assert {
    condition     = length(module.queue) == 0 && length(module.dynamodb) == 0 && !can(yamldecode(output.helm_values).storage) && !can(yamldecode(output.helm_values).broker)
    error_message = "Queue and table are there only where they are asked for."
  }
}

run "queue_and_table_reach_the_chart" {
  state_key = "both"

  variables {
    queue    = { scaler_service_account = { namespace = "keda", name = "keda-operator" } }
    dynamodb = { deletion_protection = false }
  }

  assert {
    condition     = yamldecode(output.helm_values).storage == { type = "dynamodb", dynamodb = { region = "eu-central-1", table = "sluice-dev-events", shards = 8 } } && !can(yamldecode(output.helm_values).database)
    error_message = "The chart stores in the table, and is told of no database."
  }

  assert {
    condition     = yamldecode(output.helm_values).broker == { url = "sqs://eu-central-1/sluice-dev-" } && yamldecode(output.helm_values).worker == { enabled = true } && yamldecode(output.helm_values).serviceAccount.worker == { create = true, name = "sluice-worker", annotations = {} }
    error_message = "A worker with a role of its own takes what the service queues."
  }

  assert {
    condition     = output.monthly_estimate.keys == run.nothing_is_made_by_itself.monthly_estimate.keys + 2
    error_message = "Each has a key."
  }
}

run "a_queue_before_the_database_has_a_worker_that_logs_in" {
  state_key = "queue"

  variables {
    queue    = {}
    nat_mode = "none"
  }

  assert {
    condition     = can(yamldecode(output.helm_values).database.host) && contains(local.interface_endpoints, "sqs") && yamldecode(output.helm_values).networkPolicy.aws.to[0].ipBlock.cidr == "10.0.0.0/16"
    error_message = "Without a way to the internet SQS is reached inside the VPC."
  }
}

run "dynamodb_is_reached_without_the_internet" {
  state_key = "table"

  variables {
    dynamodb = { deletion_protection = false }
    nat_mode = "none"
  }

  assert {
    condition     = !can(yamldecode(output.helm_values).networkPolicy.aws)
    error_message = "The gateway endpoint leads to addresses outside of the VPC."
  }
}
