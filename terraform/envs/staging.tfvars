# As prod, in small: what breaks there breaks here first.
environment = "staging"
region      = "eu-central-1"
account_id  = "123456789012" # yours

az_count           = 3
availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
nat_mode           = "single"
log_retention_days = 30

node_groups = {
  general = {
    instance_types = ["t4g.large"]
    min_size       = 2
    max_size       = 6
    desired_size   = 3
  }
}

cluster_access = {
  developers = {
    principal_arn = "arn:aws:iam::123456789012:role/developers" # yours
    policy        = "AmazonEKSEditPolicy"
    namespaces    = ["sluice"]
  }
  platform = {
    principal_arn = "arn:aws:iam::123456789012:role/platform" # yours
    policy        = "AmazonEKSClusterAdminPolicy"
  }
}

database_instance_class = "db.t4g.medium"
