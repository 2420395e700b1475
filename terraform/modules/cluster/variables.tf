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

variable "control_plane_subnet_ids" {
  description = "Those of them that the control plane was made in, whose zones EKS never changes; null: all."
  type        = list(string)
  default     = null
}

variable "service_cidr" {
  description = "Range of Service addresses."
  type        = string
  default     = "172.20.0.0/16"
  nullable    = false
}

variable "public_access_cidrs" {
  description = "Ranges that reach the public endpoint; none: no public endpoint."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "log_types" {
  description = "Control plane logs that are kept."
  type        = set(string)
  default     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that control plane logs are kept."
  type        = number
  default     = 30
  nullable    = false
}

variable "log_key_arn" {
  description = "Key of the log group."
  type        = string
  default     = null
}

variable "key_deletion_window_days" {
  description = "Deletion window of the cluster's key."
  type        = number
  default     = 30
  nullable    = false
}

variable "access" {
  description = "Who may use the Kubernetes API, by a name of one's own: an EKS access policy (its name or ARN; namespaces empty: the whole cluster), groups of Kubernetes, or both."
  type = map(object({
    principal_arn     = string
    policy            = optional(string)
    namespaces        = optional(list(string), [])
    kubernetes_groups = optional(set(string), [])
  }))
  default  = {}
  nullable = false
}

variable "compute_mode" {
  description = "`managed` node groups or `auto` mode."
  type        = string
  default     = "managed"
  nullable    = false
}

variable "node_groups" {
  description = "Managed node groups by name; `architecture` is `arm64` or `x86_64`, as their instance types are."
  type = map(object({
    instance_types = list(string)
    architecture   = optional(string, "arm64")
    min_size       = optional(number, 2)
    max_size       = optional(number, 4)
    desired_size   = optional(number, 2)
    disk_gib       = optional(number, 40)
    max_pods       = optional(number)
    capacity_type  = optional(string, "ON_DEMAND")
    labels         = optional(map(string), {})
    taints         = optional(list(object({ key = string, value = optional(string, ""), effect = string })), [])
  }))
  default  = {}
  nullable = false
}

variable "workload_identity" {
  description = "`pod_identity` or `irsa`."
  type        = string
  default     = "pod_identity"
  nullable    = false
}

variable "addon_versions" {
  description = "Pinned versions by add-on; others follow EKS's default for the Kubernetes version."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "cached_repository_arns" {
  description = "Repositories that nodes may make by pulling through the registry's cache."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of every role, or null."
  type        = string
  default     = null
}
