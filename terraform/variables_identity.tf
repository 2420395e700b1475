variable "namespace" {
  description = "Namespace that the chart is installed in."
  type        = string
  default     = "sluice"
  nullable    = false

  validation {
    condition = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.namespace)) && !contains(
      ["default", "kube-system", "kube-public", "kube-node-lease", "argocd"], var.namespace
    )
    error_message = "namespace must be a name that Kubernetes takes, and the chart's own: not default, kube-... or argocd."
  }
}

variable "github" {
  description = "Repository whose workflows push images and sign them: names and numeric ids (`gh api repos/OWNER/NAME --jq '.owner.id, .id'`), and from which context each purpose runs; null: no such roles."
  type = object({
    owner         = string
    owner_id      = number
    repository    = string
    repository_id = number
    # Environments that tools/protect.sh makes. GitHub makes one that does not exist for any job that names it, without a rule.
    push_context = optional(string, "environment:registry-push")
    sign_context = optional(string, "environment:registry-sign")
  })
  default = null

  validation {
    condition = var.github == null || (
      can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?$", var.github.owner)) && can(regex("^[A-Za-z0-9._-]{1,100}$", var.github.repository))
    )
    error_message = "github must name owner and repository as GitHub does, without slash or wildcard."
  }

  validation {
    condition     = var.github == null || try(alltrue([for id in [var.github.owner_id, var.github.repository_id] : id >= 1 && floor(id) == id]), false)
    error_message = "github must give owner_id and repository_id as GitHub's numeric ids (gh api repos/OWNER/NAME --jq '.owner.id, .id')."
  }

  validation {
    condition = var.github == null || try(alltrue([
      for context in [var.github.push_context, var.github.sign_context] :
      can(regex("^(environment:[A-Za-z0-9._-]+|ref:refs/(heads|tags)/[A-Za-z0-9._/-]+)$", context))
    ]), false)
    error_message = "github must have contexts that are exact: environment:NAME, ref:refs/heads/BRANCH or ref:refs/tags/TAG; no wildcard, and never pull_request."
  }

  validation {
    condition     = var.github == null || try(var.github.push_context != var.github.sign_context, false)
    error_message = "github must have a context of its own for each of push and sign: a job that can push must not be able to sign."
  }
}

variable "route53_zone_ids" {
  description = "Public zones that external-dns may write; empty: no role for it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for id in var.route53_zone_ids : can(regex("^Z[A-Z0-9]{1,31}$", id))])
    error_message = "route53_zone_ids must be ids of zones, as Z0123456789ABCDEFGHIJ, without /hostedzone/."
  }
}

variable "gitops" {
  description = "Repository, revision and path that Argo CD reads; they go into the cluster's Secret."
  type        = object({ repository = string, revision = optional(string, "main"), path = optional(string, "argocd") })
  default     = { repository = "" }
  nullable    = false

  validation {
    condition     = var.gitops.repository == "" || can(regex("^(https://|ssh://|git@)[^\\s@]+$", replace(var.gitops.repository, "git@", "ssh://")))
    error_message = "gitops must have the repository's https:// or ssh URL, without user and password."
  }

  validation {
    condition     = !contains(["HEAD", "*", ""], var.gitops.revision)
    error_message = "gitops must have a revision by its name, as main; HEAD and * move without anyone saying so."
  }
}
