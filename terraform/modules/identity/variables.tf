variable "name" {
  description = "First part of the names of roles; also the cluster's name, which load balancer tags carry."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "cluster" {
  description = "The cluster, as the workload_role module takes it."
  type = object({
    name              = string
    arn               = string
    workload_identity = string
    oidc_provider_arn = optional(string)
  })
  nullable = false
}

variable "service_accounts" {
  description = "Namespace and name of each ServiceAccount that gets a role."
  type        = map(object({ namespace = string, name = string }))
  nullable    = false
}

variable "github" {
  description = "Who pushes and signs: names and numeric ids of owner and repository, and the context of each purpose; null: nobody."
  type = object({
    owner         = string
    owner_id      = number
    repository    = string
    repository_id = number
    contexts      = object({ push = string, sign = string })
  })
  default = null
}

variable "repository_arns" {
  description = "Image repositories."
  type        = list(string)
  nullable    = false
}

variable "signing_key_arn" {
  description = "Key that signs images."
  type        = string
  nullable    = false
}

variable "database" {
  description = "The database as policies name it."
  type        = object({ resource_id = string, owner_secret_arn = string, key_arn = string })
  nullable    = false
}

variable "cluster_security_group_id" {
  description = "Security group of nodes and pods, which the load balancer controller may open for its load balancers."
  type        = string
  nullable    = false
}

variable "vpc_arn" {
  description = "VPC that the load balancer controller may make security groups in."
  type        = string
  nullable    = false
}

variable "zone_ids" {
  description = "Route 53 zones that external-dns may write; none: no role for it."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of every role, or null."
  type        = string
  default     = null
}
