variable "name" {
  description = "Name of the cluster."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region of the cluster."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, of the control plane and of the nodes."
  type        = string
  nullable    = false
}

variable "subnet_ids" {
  description = "Private subnets of control plane interfaces, nodes and pods."
  type        = list(string)
  nullable    = false
}

variable "service_cidr" {
  description = "Range of Service addresses."
  type        = string
  nullable    = false
}

variable "public_access_cidrs" {
  description = "Ranges that reach the public endpoint; none: no public endpoint."
  type        = list(string)
  nullable    = false
}

variable "log_types" {
  description = "Control plane logs that are kept."
  type        = set(string)
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that control plane logs are kept."
  type        = number
  nullable    = false
}

variable "log_key_arn" {
  description = "Key of the log group."
  type        = string
  nullable    = false
}

variable "key_deletion_window_days" {
  description = "Deletion window of the cluster's key."
  type        = number
  nullable    = false
}

variable "access" {
  description = "Who may use the Kubernetes API, by a name of one's own; namespaces empty means the whole cluster."
  type        = map(object({ principal_arn = string, policy = string, namespaces = list(string) }))
  nullable    = false
}

variable "compute_mode" {
  description = "`managed` node groups or `auto` mode."
  type        = string
  nullable    = false
}

variable "node_groups" {
  description = "Managed node groups by name."
  type = map(object({
    instance_types = list(string)
    architecture   = string
    min_size       = number
    max_size       = number
    desired_size   = number
    disk_gib       = number
    capacity_type  = string
    labels         = map(string)
    taints         = list(object({ key = string, value = string, effect = string }))
  }))
  nullable = false
}

variable "workload_identity" {
  description = "`pod_identity` or `irsa`."
  type        = string
  nullable    = false
}

variable "addon_versions" {
  description = "Pinned versions by add-on; others follow EKS's default for the Kubernetes version."
  type        = map(string)
  nullable    = false
}

variable "cached_repository_arns" {
  description = "Repositories that nodes may make by pulling through the registry's cache."
  type        = list(string)
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of every role, or null."
  type        = string
}
