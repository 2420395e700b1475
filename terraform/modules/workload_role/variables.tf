variable "name" {
  description = "Name of the role."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region of the cluster."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "cluster" {
  description = "The cluster, and how its pods get credentials: `pod_identity` or `irsa` (then with the provider of its issuer)."
  type = object({
    name              = string
    arn               = string
    workload_identity = string
    oidc_provider_arn = optional(string)
  })
  nullable = false
}

variable "namespace" {
  description = "Namespace of the ServiceAccount."
  type        = string
  nullable    = false
}

variable "service_account" {
  description = "The one ServiceAccount that may use the role."
  type        = string
  nullable    = false
}

variable "policy" {
  description = "What the role may do (a policy document as JSON); null when `managed_policy` says it all."
  type        = string
  default     = null
}

variable "managed_policy" {
  description = "Name of an AWS managed policy with its path (`service-role/AmazonEBSCSIDriverPolicy`), or null."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the role, or null."
  type        = string
  default     = null
}
