variable "database_engine_version" {
  description = "Major version of PostgreSQL; RDS chooses the minor one."
  type        = string
  default     = "17"
  nullable    = false

  validation {
    condition     = can(regex("^(1[7-9]|[2-9][0-9])$", var.database_engine_version))
    error_message = "database_engine_version must be 17 or a later major version, without a minor one: RDS raises that one, and a fixed one would then be a downgrade."
  }
}

variable "database_instance_class" {
  description = "Instance class. Its memory decides max_connections, unless database_max_connections does."
  type        = string
  default     = "db.t4g.medium"
  nullable    = false

  validation {
    condition     = can(regex("^db\\.[a-z0-9-]+\\.[a-z0-9]+$", var.database_instance_class))
    error_message = "database_instance_class must be a class of RDS, as db.m7g.large."
  }

  validation {
    condition     = !local.production || lookup(local.database_memory_gib, var.database_instance_class, 4) >= 4
    error_message = "database_instance_class must have 4 GiB or more in prod: the chart's pods need more than 200 connections while they are replaced."
  }
}

variable "database_max_connections" {
  description = "Connections that the server allows; null: 100 for each GiB of the class's memory, at most 5000."
  type        = number
  default     = null

  validation {
    condition     = contains(keys(local.database_memory_gib), var.database_instance_class) || var.database_max_connections != null
    error_message = "database_max_connections must be set for ${var.database_instance_class}, whose memory is not in locals.tf: 100 for each GiB fit."
  }

  validation {
    condition     = var.database_max_connections == null || try(var.database_max_connections >= 50 && var.database_max_connections <= 262143 && floor(var.database_max_connections) == var.database_max_connections, false)
    error_message = "database_max_connections must be a whole number from 50 to 262143."
  }
}

variable "database_name" {
  description = "Database that is made in the instance. Chosen once: another name is another instance."
  type        = string
  default     = "sluice"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_name)) && !contains(["postgres", "template0", "template1", "rdsadmin"], var.database_name)
    error_message = "database_name must have 1 to 63 small letters, digits and underscores, with a letter first, and not be one of PostgreSQL's or RDS's own."
  }
}

variable "database_storage_gib" {
  description = "Storage at first, in GiB."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.database_storage_gib >= 20 && var.database_storage_gib <= 65536 && floor(var.database_storage_gib) == var.database_storage_gib
    error_message = "database_storage_gib must be a whole number from 20 to 65536."
  }
}

variable "database_max_storage_gib" {
  description = "What storage may grow to by itself, in GiB."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.database_max_storage_gib >= ceil(var.database_storage_gib * 1.1) && var.database_max_storage_gib <= 65536
    error_message = "database_max_storage_gib must be a tenth above database_storage_gib or more, and at most 65536: RDS refuses less. Raise it."
  }
}

variable "database_multi_az" {
  description = "Keep a standby in another zone. prod must."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !local.production || var.database_multi_az
    error_message = "database_multi_az must be true in prod: without a standby the loss of a zone is an outage."
  }
}

variable "database_backup_retention_days" {
  description = "Days that any moment can be restored from."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = contains(range(1, 36), var.database_backup_retention_days)
    error_message = "database_backup_retention_days must be a whole number from 1 to 35."
  }

  validation {
    condition     = !local.production || var.database_backup_retention_days >= 14
    error_message = "database_backup_retention_days must be 14 or more in prod."
  }
}

variable "database_backup_window" {
  description = "Daily window of backups, UTC."
  type        = string
  default     = "02:00-03:00"
  nullable    = false

  validation {
    condition = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$", var.database_backup_window)) && try(timecmp(
      timeadd("2000-01-01T${substr(var.database_backup_window, 0, 5)}:00Z", "30m"), "2000-01-01T${substr(var.database_backup_window, 6, 5)}:00Z"
    ) <= 0, false)
    error_message = "database_backup_window must be hh:mm-hh:mm (UTC) of half an hour or more, and end on the day it begins."
  }
}

variable "database_maintenance_window" {
  description = "Weekly window of changes that make the database restart, UTC."
  type        = string
  default     = "sun:04:00-sun:05:00"
  nullable    = false

  validation {
    condition = can(regex(
      "^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$",
      var.database_maintenance_window
      )) && try(substr(var.database_maintenance_window, 0, 3) == substr(var.database_maintenance_window, 10, 3) && timecmp(
      timeadd("2000-01-01T${substr(var.database_maintenance_window, 4, 5)}:00Z", "30m"),
      "2000-01-01T${substr(var.database_maintenance_window, 14, 5)}:00Z"
    ) <= 0, false)
    error_message = "database_maintenance_window must be ddd:hh:mm-ddd:hh:mm (UTC), as sun:04:00-sun:05:00, of half an hour or more, and end on the day it begins."
  }

  validation {
    # One ends before the other begins.
    condition = try(
      timecmp("2000-01-01T${substr(var.database_backup_window, 6, 5)}:00Z", "2000-01-01T${substr(var.database_maintenance_window, 4, 5)}:00Z") <= 0 ||
      timecmp("2000-01-01T${substr(var.database_maintenance_window, 14, 5)}:00Z", "2000-01-01T${substr(var.database_backup_window, 0, 5)}:00Z") <= 0, true
    )
    error_message = "database_maintenance_window must not overlap database_backup_window: RDS refuses it. Move one of them."
  }
}

variable "database_apply_immediately" {
  description = "Change class, version and the like at once instead of in the maintenance window. Parameters wait for a restart of their own (docs/runbooks/upgrade-rds.md)."
  type        = bool
  default     = false
  nullable    = false
}

variable "database_monitoring_interval" {
  description = "Seconds between two samples of enhanced monitoring; 0: off."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.database_monitoring_interval)
    error_message = "database_monitoring_interval must be 0, 1, 5, 10, 15, 30 or 60."
  }

  validation {
    condition     = !local.production || var.database_monitoring_interval > 0
    error_message = "database_monitoring_interval must not be 0 in prod; 60 costs least."
  }
}

variable "database_deletion_protection" {
  description = "Let RDS refuse to delete the instance."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = !var.database_deletion_protection || var.destroy_protection
    error_message = "database_deletion_protection must not be true when destroy_protection is false: destroy would take everything but the database. Set both, or neither."
  }

  validation {
    condition     = !local.production || var.database_deletion_protection || !var.destroy_protection
    error_message = "database_deletion_protection may be false in prod only together with destroy_protection = false, for a destroy. Set both, or neither."
  }
}

variable "database_skip_final_snapshot" {
  description = "Delete the instance without a last snapshot. Never in prod."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.database_skip_final_snapshot || !local.production
    error_message = "database_skip_final_snapshot must be false in prod: the last snapshot is all that is left of the data."
  }
}

variable "database_alarm_topic_arn" {
  description = "Topic of SNS for alarms of storage, connections and CPU credits; null: no alarms."
  type        = string
  default     = null

  validation {
    condition     = var.database_alarm_topic_arn == null || can(regex("^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$", var.database_alarm_topic_arn))
    error_message = "database_alarm_topic_arn must be the ARN of a topic of SNS, or null."
  }
}

variable "database_backup_plan" {
  description = "AWS Backup beside RDS's own backups: when (a cron expression, UTC), for how many days, and another vault, of another region or account, that gets a copy; null: none."
  type = object({
    schedule          = optional(string, "cron(0 6 * * ? *)")
    retention_days    = optional(number, 35)
    copy_to_vault_arn = optional(string)
  })
  default = null

  validation {
    condition     = var.database_backup_plan == null || try(var.database_backup_plan.retention_days >= 1 && floor(var.database_backup_plan.retention_days) == var.database_backup_plan.retention_days, false)
    error_message = "database_backup_plan must have retention_days as a whole number from 1."
  }

  validation {
    condition     = var.database_backup_plan == null || try(can(regex("^cron\\([0-5]?[0-9] [0-9,]+ .+\\)$", var.database_backup_plan.schedule)), false)
    error_message = "database_backup_plan must have a schedule as cron(0 6 * * ? *), with minute and hours as numbers."
  }

  validation {
    # Minutes from an hour before each window, around the day, which the window must have ended by.
    condition = var.database_backup_plan == null || try(alltrue(flatten([
      for window in local.database_windows : [
        for hour in split(",", split(" ", var.database_backup_plan.schedule)[1]) :
        (hour * 60 + split(" ", trimprefix(var.database_backup_plan.schedule, "cron("))[0] - window.start + 1500) % 1440 >= window.minutes + 60
      ]
    ])), true)
    error_message = "database_backup_plan must have a schedule outside of database_backup_window, database_maintenance_window and the hour before each: there AWS Backup's jobs fail."
  }
}
