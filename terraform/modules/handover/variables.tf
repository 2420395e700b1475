variable "account" {
  description = "Account, partition and region of the cluster."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "environment" {
  description = "Name of the environment."
  type        = string
  nullable    = false
}

variable "cluster" {
  description = "The cluster as GitOps needs to know it."
  type = object({
    name              = string
    version           = string
    endpoint          = string
    security_group_id = string
    compute_mode      = string
    workload_identity = string
    service_cidr      = optional(string, "172.20.0.0/16")
    architectures     = optional(list(string), ["amd64"])
    key_arn           = optional(string, "")
  })
  nullable = false
}

variable "tags" {
  description = "Tags of what the load balancer controller makes in AWS."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "network" {
  description = "VPC and subnets; `aws_cidr` is where AWS services answer when they answer inside the VPC only, else null."
  type = object({
    vpc_id             = string
    cidr               = string
    public_subnet_ids  = list(string)
    private_subnet_ids = list(string)
    data_subnet_cidrs  = list(string)
    aws_cidr           = string
  })
  nullable = false
}

variable "registry" {
  description = "Where images are and how they are verified."
  type = object({
    repository_url     = string
    cache_prefixes     = map(string)
    signing_public_key = string
  })
  nullable = false
}

variable "database" {
  description = "The database as clients reach it."
  type = object({
    host             = string
    port             = number
    name             = string
    owner_secret_arn = string
    max_connections  = number
  })
  nullable = false
}

variable "queue_url" {
  description = "QUEUE_URL of the service and its worker, or null: no queue."
  type        = string
  default     = null
}

variable "dynamodb" {
  description = "The table that events go to instead of the database, or null."
  type        = object({ table = string, shards = number })
  default     = null
}

variable "service_accounts" {
  description = "Namespace and name of each ServiceAccount that the charts make."
  type        = map(object({ namespace = string, name = string }))
  nullable    = false
}

variable "role_arns" {
  description = "ARN of the role of each ServiceAccount that has one."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "zone_ids" {
  description = "Route 53 zones of external-dns."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "gitops" {
  description = "Repository, revision and path that Argo CD reads."
  type        = object({ repository = string, revision = string, path = string })
  default     = { repository = "", revision = "main", path = "argocd" }
  nullable    = false
}
