# What a variable cannot say by itself.

# Holds the values of the first apply for ever.
resource "terraform_data" "birth" {
  input = local.chosen_once

  lifecycle {
    ignore_changes = [input]
  }
}

resource "terraform_data" "rules" {
  lifecycle {
    precondition {
      condition     = length(local.availability_zones) == var.az_count
      error_message = "${var.region} has ${length(local.availability_zones)} zones that EKS can use; set az_count to that, or choose another region."
    }

    # One message for each: what changes, and what AWS would do.
    precondition {
      condition     = terraform_data.birth.output.name == local.name && terraform_data.birth.output.region == var.region
      error_message = "This state is of ${terraform_data.birth.output.name} in ${terraform_data.birth.output.region}; for ${local.name} in ${var.region} run terraform init -reconfigure with the backend file of that environment."
    }

    precondition {
      condition     = slice(local.availability_zones, 0, min(length(local.birth_zones), length(local.availability_zones))) == local.birth_zones
      error_message = "availability_zones began with ${join(", ", local.birth_zones)}. Name these first, in this order; a zone can only be added, behind them."
    }

    precondition {
      condition     = terraform_data.birth.output.vpc_cidr == var.vpc_cidr
      error_message = "vpc_cidr was chosen once and for all: ${terraform_data.birth.output.vpc_cidr}. Put it back; another range is another environment."
    }

    precondition {
      condition     = terraform_data.birth.output.cluster_service_cidr == var.cluster_service_cidr
      error_message = "cluster_service_cidr was chosen once and for all: ${terraform_data.birth.output.cluster_service_cidr}. Put it back; another range is another cluster."
    }

    precondition {
      condition     = terraform_data.birth.output.compute_mode == var.compute_mode
      error_message = "compute_mode was chosen once and for all: ${terraform_data.birth.output.compute_mode}. Put it back; for the other mode make another environment and move over."
    }

    precondition {
      condition     = terraform_data.birth.output.database_name == var.database_name
      error_message = "database_name was chosen once and for all: ${terraform_data.birth.output.database_name}. Put it back, or rename the database in PostgreSQL and here with terraform state."
    }
  }
}

# Depends on everything, so it is the first thing that `terraform destroy` destroys; when it refuses, nothing else is touched.
# (prevent_destroy cannot be used: it takes no variable, and could never be lifted.)
resource "terraform_data" "guard" {
  input = {
    name      = local.name
    protected = var.destroy_protection
  }

  provisioner "local-exec" {
    when    = destroy
    command = self.input.protected ? "echo ${self.input.name} is protected: apply with destroy_protection=false and database_deletion_protection=false first && exit 1" : "exit 0"
  }

  depends_on = [
    module.cluster, module.database, module.dynamodb, module.handover, module.identity, module.logs_key, module.network, module.queue,
    module.registry, terraform_data.rules,
  ]
}
