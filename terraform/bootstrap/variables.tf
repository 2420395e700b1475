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

  validation {
    condition     = !can(regex("^cn-|-iso[a-z]?-", var.region))
    error_message = "region must be a commercial one or of GovCloud, as the environments' must."
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

variable "github" {
  description = "Repository whose workflows run Terraform: names and numeric ids, and from which context they plan and apply; null: no such roles."
  type = object({
    owner         = string
    owner_id      = number
    repository    = string
    repository_id = number
    plan_context  = optional(string, "pull_request")
    apply_context = optional(string, "environment:terraform")
  })
  default = null

  validation {
    condition     = var.github == null || try(startswith(var.github.apply_context, "environment:") && !strcontains(var.github.apply_context, "*"), false)
    error_message = "github must have an apply_context of environment:NAME: a protected environment's reviewers decide what is applied."
  }

  validation {
    condition     = var.github == null || try(var.github.plan_context != var.github.apply_context && !strcontains(var.github.plan_context, "*"), false)
    error_message = "github must have a plan_context other than apply_context, without wildcard: pull_request, ref:refs/heads/BRANCH or environment:NAME."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds the roles of GitHub's workflows; null: none."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
  }
}
