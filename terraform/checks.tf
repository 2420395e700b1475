# Warnings: nothing here stops an apply.

check "kubernetes_is_supported" {
  assert {
    condition     = try(timecmp(timeadd(plantimestamp(), "1440h"), "${local.kubernetes_support_ends[var.kubernetes_version]}T00:00:00Z") < 0, true)
    error_message = "Standard support of Kubernetes ${var.kubernetes_version} on EKS ends on ${lookup(local.kubernetes_support_ends, var.kubernetes_version, "a day that is not in locals.tf")}: raise kubernetes_version (docs/runbooks/upgrade-kubernetes.md), or EKS upgrades by itself."
  }
}

check "workspace_is_default" {
  assert {
    condition     = terraform.workspace == "default"
    error_message = "Workspaces are not used here: an environment is a tfvars file and a backend file of its own. Run terraform workspace select default."
  }
}

check "prod_survives_a_zone" {
  assert {
    condition     = !local.production || (var.az_count == 3 && var.nat_mode != "single")
    error_message = "prod has ${var.az_count} zones and nat_mode ${var.nat_mode}: with three zones and per_az (or none) the loss of one zone takes no other with it."
  }
}

check "api_is_private" {
  assert {
    condition     = length(var.cluster_public_access_cidrs) == 0 || !local.production
    error_message = "The Kubernetes API of ${local.name} is reached from the internet by ${join(", ", var.cluster_public_access_cidrs)}: a VPN into the VPC needs no such list."
  }
}

check "database_is_not_burstable" {
  assert {
    condition     = !local.production || !startswith(var.database_instance_class, "db.t")
    error_message = "${var.database_instance_class} in prod runs on CPU credits: steady ingestion uses them up. db.m7g.large does not."
  }
}

check "somebody_may_use_the_cluster" {
  assert {
    condition     = length(var.cluster_access) > 0
    error_message = "cluster_access is empty: nobody can use the Kubernetes API, not even who applies this. Add an entry."
  }
}
