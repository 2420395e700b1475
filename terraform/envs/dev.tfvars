# One of everything, gone in one command.
environment = "dev"
region      = "eu-central-1"
account_id  = "123456789012" # yours

# Where you are, so that you reach the Kubernetes API: curl -s https://checkip.amazonaws.com
cluster_public_access_cidrs = ["203.0.113.7/32"]

az_count           = 2
nat_mode           = "single"
destroy_protection = false
log_retention_days = 7

key_deletion_window_days = 7

node_groups = {
  general = {
    instance_types = ["t4g.medium"]
    min_size       = 1
    max_size       = 4
    desired_size   = 2
    disk_gib       = 30
    max_pods       = 40 # of 17 that the type has by itself; 695 MiB are reserved for them
  }
}

cluster_access = {
  developers = {
    principal_arn = "arn:aws:iam::123456789012:role/developers" # yours
    policy        = "AmazonEKSClusterAdminPolicy"
  }
}

repository_force_delete = true

database_instance_class        = "db.t4g.small"
database_backup_retention_days = 1
database_apply_immediately     = true
database_deletion_protection   = false
database_skip_final_snapshot   = true
