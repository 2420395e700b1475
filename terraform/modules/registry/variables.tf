variable "name" {
  description = "First part of the names of keys and aliases."
  type        = string
  nullable    = false
}

variable "shared_by" {
  description = "Name and account of the environment that makes the registry; null: this one does."
  type        = object({ name = string, account_id = string })
  default     = null
}

variable "reader_account_ids" {
  description = "Other accounts that pull from this registry."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "account" {
  description = "Account, partition and region of the registry."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "repositories" {
  description = "Names of the repositories, below the name of the environment that makes them."
  type        = set(string)
  default     = ["sluice"]
  nullable    = false
}

variable "retention" {
  description = "How many images of each kind are kept, and how many days the short-lived ones."
  type = object({
    deployed          = optional(number, 500)
    releases          = optional(number, 100)
    builds            = optional(number, 200)
    pull_request_days = optional(number, 14)
    untagged_days     = optional(number, 7)
  })
  default  = {}
  nullable = false
}

variable "force_delete" {
  description = "Let destroy remove repositories that hold images."
  type        = bool
  default     = false
  nullable    = false
}

variable "pull_through_cache" {
  description = "Upstream registries that ECR caches, as ECR names them (upstreams.tf)."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "key_deletion_window_days" {
  description = "Deletion window of the registry's keys."
  type        = number
  default     = 30
  nullable    = false
}

variable "mirrored_repositories" {
  description = "Public repositories that are copied here by hand, as `quay/argoproj/argocd`: an upstream and a name."
  type        = set(string)
  default     = []
  nullable    = false
}
