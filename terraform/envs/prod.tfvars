# Survives the loss of a zone, and a hasty terraform destroy.
environment = "prod"
region      = "eu-central-1"
account_id  = "123456789012" # yours; an account of its own

az_count           = 3
availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
nat_mode           = "per_az"
log_retention_days = 365

node_groups = {
  general = {
    instance_types = ["m7g.large"]
    min_size       = 3
    max_size       = 12
    desired_size   = 3
    disk_gib       = 60
  }
}

cluster_access = {
  developers = {
    principal_arn = "arn:aws:iam::123456789012:role/developers" # yours
    policy        = "AmazonEKSViewPolicy"
    namespaces    = ["sluice"]
  }
  platform = {
    principal_arn = "arn:aws:iam::123456789012:role/platform" # yours
    policy        = "AmazonEKSClusterAdminPolicy"
  }
}

database_instance_class        = "db.m7g.large"
database_storage_gib           = 100
database_max_storage_gib       = 1000
database_multi_az              = true
database_backup_retention_days = 14
database_monitoring_interval   = 60
