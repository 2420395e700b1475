variable "registry_of" {
  description = "Environment that makes image repositories, signing key and GitHub's roles for this one too, as `staging`; null: this one does."
  type        = string
  default     = null

  validation {
    condition     = var.registry_of == null || can(regex("^[a-z](-?[a-z0-9])+$", var.registry_of))
    error_message = "registry_of must be the name of an environment, as staging."
  }

  validation {
    condition     = var.registry_of == null || var.registry_of != var.environment
    error_message = "registry_of must name another environment; leave it out where this one makes the registry."
  }

  validation {
    condition     = var.registry_of == null || var.github == null
    error_message = "registry_of and github exclude each other: who makes the registry has the roles that push to it and sign, and one of each is enough."
  }
}

variable "registry_account_id" {
  description = "Account of the environment in `registry_of`; null: this one."
  type        = string
  default     = null

  validation {
    condition     = var.registry_account_id == null || can(regex("^[0-9]{12}$", var.registry_account_id))
    error_message = "registry_account_id must be 12 digits, in quotes so that leading zeros stay."
  }

  validation {
    condition     = var.registry_account_id == null || var.registry_of != null
    error_message = "registry_account_id needs registry_of: name the environment in that account that makes the registry."
  }
}

variable "registry_reader_account_ids" {
  description = "Other accounts whose environments pull images from here and verify them: one image, promoted by its digest."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.registry_reader_account_ids : can(regex("^[0-9]{12}$", id))])
    error_message = "registry_reader_account_ids must be accounts of 12 digits each, in quotes."
  }

  validation {
    condition     = var.registry_of == null || length(var.registry_reader_account_ids) == 0
    error_message = "registry_reader_account_ids belongs to the environment that makes the registry: set it there, or remove registry_of."
  }

  validation {
    condition     = !var.repository_force_delete || length(var.registry_reader_account_ids) == 0
    error_message = "registry_reader_account_ids needs repository_force_delete = false: destroying this environment would delete images that others run."
  }
}

variable "repositories" {
  description = "Image repositories, below the name of the environment that makes them (`sluice-dev/sluice`). The first is that of Sluice's image; workflow `release` puts the chart into `charts/sluice`."
  type        = list(string)
  default     = ["sluice", "charts/sluice"]
  nullable    = false

  validation {
    condition     = length(var.repositories) > 0 && length(distinct(var.repositories)) == length(var.repositories)
    error_message = "repositories must name at least one repository, and none twice."
  }

  validation {
    condition     = alltrue([for name in var.repositories : can(regex("^[a-z0-9]+([._/-][a-z0-9]+)*$", name)) && length(name) >= 2 && length(name) <= 200])
    error_message = "repositories must have names of 2 to 200 small letters and digits, parted by single . _ - or /."
  }
}

variable "image_retention" {
  description = "Images that are kept by tag: the newest `deployed-*`, `v*` and `sha-*` by number; `pr-*` and untagged ones by days."
  type = object({
    deployed          = optional(number, 500)
    releases          = optional(number, 100)
    builds            = optional(number, 200)
    pull_request_days = optional(number, 14)
    untagged_days     = optional(number, 7)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.image_retention.releases >= 100 && var.image_retention.deployed >= 100
    error_message = "image_retention must keep 100 releases and 100 deployed images or more: a rollback needs its image."
  }

  validation {
    condition     = alltrue([for number in values(var.image_retention) : number >= 1 && floor(number) == number])
    error_message = "image_retention must be whole numbers from 1."
  }
}

variable "repository_force_delete" {
  description = "Let destroy remove repositories that still hold images. Never in production."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.repository_force_delete || !local.production
    error_message = "repository_force_delete must be false in production; delete images by hand, knowing what they are."
  }
}

variable "pull_through_cache" {
  description = "Public registries that ECR caches for the cluster, by ECR's names: `ecr-public`, `k8s`, `quay`; null: all, and none with nat_mode `none` or in GovCloud."
  type        = set(string)
  default     = null

  validation {
    condition     = length(setsubtract(coalesce(var.pull_through_cache, []), local.upstreams)) == 0
    error_message = "pull_through_cache must be some of ${join(", ", local.upstreams)}: others need credentials."
  }

  validation {
    condition     = var.nat_mode != "none" || length(coalesce(var.pull_through_cache, [])) == 0
    error_message = "pull_through_cache must be [] with nat_mode none: ECR fetches an image's first copy through the VPC's way to the internet. Use mirrored_repositories."
  }
}

variable "mirrored_repositories" {
  description = "Public repositories that you copy into ECR by hand, as `quay/argoproj/argocd`; null: with nat_mode `none` those of Argo CD and the controllers, else none (docs/runbooks/private.md)."
  type        = set(string)
  default     = null

  validation {
    condition = alltrue([
      for name in coalesce(var.mirrored_repositories, []) :
      contains(local.upstreams, split("/", name)[0]) && can(regex("^[a-z0-9-]+(/[a-z0-9]+([._-][a-z0-9]+)*)+$", name))
    ])
    error_message = "mirrored_repositories must be an upstream (${join(", ", local.upstreams)}) and a repository's name, as quay/argoproj/argocd, without tag."
  }
}
