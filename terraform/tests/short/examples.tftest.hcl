# The modules as others call them.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  admin_role_arn = "arn:aws:iam::123456789012:role/admins"
}

run "all_modules_together" {
  command   = plan
  state_key = "complete"
  module { source = "./examples/complete" }
}

run "without_a_way_to_the_internet" {
  command   = plan
  state_key = "private"
  module { source = "./examples/private" }
}

run "beside_a_cluster_that_is_there" {
  state_key = "existing"
  module { source = "./examples/existing-cluster" }

  variables {
    cluster_name    = "shared"
    data_subnet_ids = ["subnet-0a", "subnet-0b"]
    vpc_cidr        = "10.0.0.0/16"
  }

  assert {
    condition     = yamldecode(output.helm_values).image.repository == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice" && yamldecode(output.argocd_cluster_secret).metadata.annotations["cluster_name"] == "shared"
    error_message = "The hand-over is of the cluster that is there."
  }
}

run "two_environments_in_one_account" {
  command   = plan
  state_key = "single"
  module { source = "./examples/single-account" }

  assert {
    condition     = output.images["dev"] == "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice-prod/sluice"
    error_message = "dev pulls what prod's registry has."
  }
}

run "a_table_and_a_queue_instead_of_a_database" {
  state_key = "dynamodb"
  module { source = "./examples/dynamodb" }

  variables {
    cluster_name = "shared"
  }

  assert {
    condition     = yamldecode(output.helm_values).storage.dynamodb.table == "sluice-dev-events" && yamldecode(output.helm_values).broker.url == "sqs://eu-central-1/sluice-dev-"
    error_message = "The chart gets the table and the queue."
  }
}
