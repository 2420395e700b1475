variable "name" {
  description = "Identifier of the instance and first part of names."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region of the database."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "vpc_id" {
  description = "VPC of the database."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Data subnets, in two zones or more."
  type        = list(string)
  nullable    = false
}

variable "client_security_group_id" {
  description = "Security group of the cluster's nodes and pods: the only one that may connect."
  type        = string
  nullable    = false
}

variable "database_name" {
  description = "Database that is made in the instance."
  type        = string
  nullable    = false
}

variable "engine_version" {
  description = "Major version of PostgreSQL; RDS chooses and raises the minor one."
  type        = string
  nullable    = false
}

variable "instance_class" {
  description = "Instance class."
  type        = string
  nullable    = false
}

variable "max_connections" {
  description = "Connections that the server allows."
  type        = number
  nullable    = false
}

variable "storage" {
  description = "GiB at first, and GiB that storage may grow to."
  type        = object({ initial_gib = number, max_gib = number })
  nullable    = false
}

variable "multi_az" {
  description = "Keep a standby in another zone."
  type        = bool
  nullable    = false
}

variable "backup" {
  description = "Days that backups are kept, and the daily window they are made in (UTC)."
  type        = object({ retention_days = number, window = string })
  nullable    = false
}

variable "maintenance_window" {
  description = "Weekly window of changes that need a restart (UTC)."
  type        = string
  nullable    = false
}

variable "apply_immediately" {
  description = "Restart for changes at once instead of in the maintenance window."
  type        = bool
  nullable    = false
}

variable "monitoring_interval" {
  description = "Seconds between two samples of enhanced monitoring; 0: off."
  type        = number
  nullable    = false
}

variable "deletion_protection" {
  description = "Let RDS refuse to delete the instance."
  type        = bool
  nullable    = false
}

variable "skip_final_snapshot" {
  description = "Delete the instance without a last snapshot."
  type        = bool
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that PostgreSQL's logs are kept."
  type        = number
  nullable    = false
}

variable "log_key_arn" {
  description = "Key of the log groups."
  type        = string
  nullable    = false
}

variable "key_deletion_window_days" {
  description = "Deletion window of the database's key."
  type        = number
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the monitoring role, or null."
  type        = string
}
