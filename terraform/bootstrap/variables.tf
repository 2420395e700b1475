variable "project" {
  description = "Name of the product: first part of the bucket's name."
  type        = string
  default     = "sluice"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.project)) && length(var.project) <= 11
    error_message = "project must have 2 to 11 small letters, digits and single hyphens, with a letter first."
  }
}

variable "region" {
  description = "Region of the state bucket."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[1-9]$", var.region))
    error_message = "region must be the name of an AWS region, as eu-central-1."
  }
}

variable "account_id" {
  description = "Account that this is for. Credentials of any other account are refused."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, in quotes so that leading zeros stay."
  }
}

variable "state_history_days" {
  description = "Days that former states are kept, to go back to."
  type        = number
  default     = 365
  nullable    = false

  validation {
    condition     = var.state_history_days >= 30 && floor(var.state_history_days) == var.state_history_days
    error_message = "state_history_days must be a whole number from 30: a lost state is often noticed late."
  }
}

variable "github_oidc_provider" {
  description = "Make the account's one identity provider for GitHub Actions; false where somebody else made it."
  type        = bool
  default     = true
  nullable    = false
}
