variable "name" {
  description = "First part of the names of keys and aliases."
  type        = string
  nullable    = false
}

variable "shared_by" {
  description = "Name of the environment in this account that makes the registry; null: this one does."
  type        = string
  default     = null
}

variable "account" {
  description = "Account, partition and region of the registry."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "repositories" {
  description = "Names of the repositories."
  type        = set(string)
  nullable    = false
}

variable "retention" {
  description = "How many images of each kind are kept, and how many days the short-lived ones."
  type = object({
    releases          = number
    builds            = number
    deployed          = number
    pull_request_days = number
    untagged_days     = number
  })
  nullable = false
}

variable "force_delete" {
  description = "Let destroy remove repositories that hold images."
  type        = bool
  nullable    = false
}

variable "pull_through_cache" {
  description = "Upstream registries that ECR caches, as ECR names them (upstreams.tf)."
  type        = set(string)
  nullable    = false
}

variable "key_deletion_window_days" {
  description = "Deletion window of the registry's keys."
  type        = number
  nullable    = false
}
