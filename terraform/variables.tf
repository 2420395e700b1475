# Rules of one variable and rules between variables are validations: Terraform reports all that are broken at once, before AWS is asked anything.

variable "project" {
  description = "Name of the product: first part of the name of everything."
  type        = string
  default     = "sluice"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.project)) && length(var.project) <= 11
    error_message = "project must have 2 to 11 small letters, digits and single hyphens, with a letter first: ECR's cache takes prefixes of 30 characters."
  }
}

variable "environment" {
  description = "Name of the environment, as `dev`: second part of the name of everything."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.environment)) && length("${var.project}-${var.environment}") <= 19
    error_message = "environment must have small letters, digits and single hyphens, with a letter first, and at most ${18 - length(var.project)} characters beside project ${var.project}: ECR's cache takes prefixes of 30."
  }
}

variable "production" {
  description = "Keep the stricter rules: standby, long logs and backups, no images or data that go with the environment; null: only where environment is `prod`."
  type        = bool
  default     = null
}

variable "region" {
  description = "AWS region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[1-9]$", var.region))
    error_message = "region must be the name of an AWS region, as eu-central-1."
  }

  validation {
    condition     = !can(regex("^cn-|-iso[a-z]?-", var.region))
    error_message = "region must be a commercial one or of GovCloud: in China and in isolated regions services have other principals and endpoints, as ec2.amazonaws.com.cn, and nodes would not start."
  }
}

variable "account_id" {
  description = "Account that this environment lives in. Credentials of any other account are refused."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, in quotes so that leading zeros stay."
  }
}

variable "tags" {
  description = "More tags for everything. Project, Environment and ManagedBy are set already."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key, value in var.tags : length(key) <= 128 && length(value) <= 256])
    error_message = "tags must be at most 40, with keys of at most 128 and values of at most 256 characters: AWS takes 50, and some are made here."
  }

  validation {
    condition = alltrue([
      for key, value in var.tags :
      can(regex("^[A-Za-z0-9 _.:/=+@-]+$", key)) && !startswith(lower(key), "aws:") && can(regex("^[\\p{L}\\p{Z}\\p{N}_.:/=+@-]*$", value))
    ])
    error_message = "tags must not begin with aws:, and their keys and values hold letters, digits, spaces and _.:/=+@- only."
  }

  validation {
    # IAM takes no two keys that differ by case only.
    condition     = length(setintersection([for key in keys(var.tags) : lower(key)], ["project", "environment", "managedby", "name"])) == 0
    error_message = "tags must not set Project, Environment, ManagedBy or Name, in whatever case; they are set already. Choose other keys."
  }

  validation {
    condition     = length(distinct([for key in keys(var.tags) : lower(key)])) == length(var.tags)
    error_message = "tags must have keys that differ by more than capital letters: IAM takes only one of them."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds every role made here; null: none."
  type        = string
  default     = null

  validation {
    condition = var.permissions_boundary_arn == null || can(regex(
      "^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+$", var.permissions_boundary_arn
    ))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
  }
}

variable "destroy_protection" {
  description = "Refuse `terraform destroy`. To destroy prod, apply with this and database_deletion_protection false first (docs/runbooks/destroy.md)."
  type        = bool
  default     = true
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that logs of control plane, network and database are kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 or 1096 and more years up to 3653."
  }

  validation {
    condition     = !local.production || var.log_retention_days >= 365
    error_message = "log_retention_days must be 365 or more in prod: an intrusion is often found months later."
  }
}

variable "key_deletion_window_days" {
  description = "Days between the deletion of a key and the loss of everything that it encrypted."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains(range(7, 31), var.key_deletion_window_days)
    error_message = "key_deletion_window_days must be a whole number from 7 to 30."
  }

  validation {
    condition     = !local.production || var.key_deletion_window_days == 30
    error_message = "key_deletion_window_days must be 30 in prod: it is the time to notice a mistake in."
  }
}
