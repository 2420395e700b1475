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
  default     = "sluice"
  nullable    = false
}

variable "engine_version" {
  description = "Major version of PostgreSQL; RDS chooses and raises the minor one."
  type        = string
  default     = "17"
  nullable    = false
}

variable "instance_class" {
  description = "Instance class."
  type        = string
  default     = "db.t4g.medium"
  nullable    = false
}

variable "max_connections" {
  description = "Connections that the server allows."
  type        = number
  default     = 400
  nullable    = false
}

variable "storage" {
  description = "GiB at first, and GiB that storage may grow to."
  type        = object({ initial_gib = number, max_gib = number })
  default     = { initial_gib = 20, max_gib = 100 }
  nullable    = false
}

variable "multi_az" {
  description = "Keep a standby in another zone."
  type        = bool
  default     = false
  nullable    = false
}

variable "backup" {
  description = "Days that backups are kept, and the daily window they are made in (UTC)."
  type        = object({ retention_days = number, window = string })
  default     = { retention_days = 7, window = "02:00-03:00" }
  nullable    = false
}

variable "maintenance_window" {
  description = "Weekly window of changes that make the database restart (UTC)."
  type        = string
  default     = "sun:04:00-sun:05:00"
  nullable    = false
}

variable "apply_immediately" {
  description = "Change class, version and the like at once instead of in the maintenance window; parameters wait for a restart of their own."
  type        = bool
  default     = false
  nullable    = false
}

variable "monitoring_interval" {
  description = "Seconds between two samples of enhanced monitoring; 0: off."
  type        = number
  default     = 0
  nullable    = false
}

variable "deletion_protection" {
  description = "Let RDS refuse to delete the instance."
  type        = bool
  default     = true
  nullable    = false
}

variable "skip_final_snapshot" {
  description = "Delete the instance without a last snapshot."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that PostgreSQL's logs are kept."
  type        = number
  default     = 30
  nullable    = false
}

variable "log_key_arn" {
  description = "Key of the log groups."
  type        = string
  default     = null
}

variable "key_deletion_window_days" {
  description = "Deletion window of the database's key."
  type        = number
  default     = 30
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the monitoring role, or null."
  type        = string
  default     = null
}

variable "alarm_topic_arn" {
  description = "Topic of SNS that alarms go to; null: no alarms."
  type        = string
  default     = null
}

variable "backup_plan" {
  description = "AWS Backup: when (a cron expression, UTC), for how many days, and another vault that gets a copy; null: RDS's own backups only."
  type = object({
    schedule          = optional(string, "cron(0 6 * * ? *)")
    retention_days    = optional(number, 35)
    copy_to_vault_arn = optional(string)
  })
  default = null
}
