variable "kubernetes_version" {
  description = "Minor version of Kubernetes on EKS."
  type        = string
  default     = "1.35"
  nullable    = false

  validation {
    condition     = can(regex("^1\\.(3[5-9]|[4-9][0-9])$", var.kubernetes_version))
    error_message = "kubernetes_version must be 1.35 or a later minor version, as 1.36: standard support of older ones has ended or ends within days (docs/runbooks/upgrade-kubernetes.md)."
  }
}

variable "cluster_service_cidr" {
  description = "Range of Service addresses in the cluster. Chosen once: another range is another cluster."
  type        = string
  default     = "172.20.0.0/16"
  nullable    = false

  validation {
    condition = try(split("/", var.cluster_service_cidr)[0] == cidrhost(var.cluster_service_cidr, 0), false) && can(regex(
      "^(10|172\\.(1[6-9]|2[0-9]|3[01])|192\\.168)\\..*/(1[2-9]|2[0-4])$", var.cluster_service_cidr
    ))
    error_message = "cluster_service_cidr must begin at its first address and be a /12 to /24 within 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16: EKS takes no other."
  }

  validation {
    # Two ranges overlap when they are the same at the shorter of their prefixes.
    condition = try(length(distinct([
      for cidr in [var.vpc_cidr, var.cluster_service_cidr] :
      cidrhost("${split("/", cidr)[0]}/${min(split("/", var.vpc_cidr)[1], split("/", var.cluster_service_cidr)[1])}", 0)
    ])) == 2, true)
    error_message = "cluster_service_cidr must not overlap vpc_cidr: pods could not reach what is there. Choose another range for one of them."
  }
}

variable "cluster_public_access_cidrs" {
  description = "Ranges that may reach the Kubernetes API from the internet; empty: from inside the VPC only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition = alltrue([
      for cidr in var.cluster_public_access_cidrs :
      can(cidrhost(cidr, 0)) && can(regex("^[0-9.]+/", cidr)) && try(tonumber(split("/", cidr)[1]) >= 16, false)
    ])
    error_message = "cluster_public_access_cidrs must be IPv4 ranges of /16 or smaller, as 203.0.113.0/24; never 0.0.0.0/0. Name the offices or VPNs that need it."
  }

  validation {
    condition     = !local.production || alltrue([for cidr in var.cluster_public_access_cidrs : try(tonumber(split("/", cidr)[1]) >= 24, false)])
    error_message = "cluster_public_access_cidrs must be /24 or smaller in prod. Narrow them, or reach the API through the VPC."
  }

  validation {
    condition     = length(var.cluster_public_access_cidrs) <= 40
    error_message = "cluster_public_access_cidrs must be at most 40: EKS takes no more."
  }
}

variable "cluster_log_types" {
  description = "Control plane logs that are kept."
  type        = set(string)
  default     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.cluster_log_types, ["api", "audit", "authenticator", "controllerManager", "scheduler"])) == 0
    error_message = "cluster_log_types must be some of api, audit, authenticator, controllerManager and scheduler."
  }

  validation {
    condition     = !local.production || !var.destroy_protection || contains(var.cluster_log_types, "audit")
    error_message = "cluster_log_types must include audit in prod, until destroy_protection is lifted."
  }
}

variable "cluster_access" {
  description = "Who may use the Kubernetes API, by a name of one's own: an IAM role or user, and an EKS access policy with its namespaces (none: the whole cluster), groups of Kubernetes that RoleBindings name, or both; AmazonEKSViewPolicy where neither is said. Nobody else may, not even who applies this."
  type = map(object({
    principal_arn     = string
    policy            = optional(string)
    namespaces        = optional(list(string), [])
    kubernetes_groups = optional(set(string), [])
  }))
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for access in values(var.cluster_access) :
      can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", access.principal_arn))
    ])
    error_message = "cluster_access must name principals by the ARN of a role or user; not by an assumed session (arn:...:sts:...), and never root."
  }

  validation {
    condition = alltrue([
      for access in values(var.cluster_access) :
      can(regex("^(arn:aws[a-z-]*:eks::aws:cluster-access-policy/)?Amazon[A-Za-z]+Policy$", coalesce(access.policy, "AmazonEKSViewPolicy")))
    ])
    error_message = "cluster_access must use access policies of EKS by name or ARN, as AmazonEKSEditPolicy (aws eks list-access-policies)."
  }

  validation {
    condition = alltrue([
      for group in flatten([for access in values(var.cluster_access) : tolist(access.kubernetes_groups)]) :
      !can(regex("^(system:|eks:|aws:|amazon:|iam:)", group)) && length(group) > 0
    ])
    error_message = "cluster_access must not name kubernetes_groups that begin with system:, eks:, aws:, amazon: or iam:, which EKS refuses; bind a group of your own by a RoleBinding."
  }

  validation {
    condition = alltrue([
      for access in values(var.cluster_access) :
      length(access.namespaces) == 0 || !contains(["AmazonEKSClusterAdminPolicy", "AmazonEKSAdminViewPolicy"], coalesce(access.policy, "none"))
    ])
    error_message = "cluster_access with AmazonEKSClusterAdminPolicy or AmazonEKSAdminViewPolicy is of the whole cluster; remove its namespaces, or use AmazonEKSAdminPolicy."
  }

  validation {
    condition = alltrue([
      for access in values(var.cluster_access) :
      length(access.namespaces) > 0 || !contains(["AmazonEKSAdminPolicy", "AmazonEKSEditPolicy"], coalesce(access.policy, "none"))
    ])
    error_message = "cluster_access with AmazonEKSAdminPolicy or AmazonEKSEditPolicy needs namespaces; name them, or use AmazonEKSClusterAdminPolicy on purpose."
  }

  validation {
    condition     = length(distinct([for access in values(var.cluster_access) : access.principal_arn])) == length(var.cluster_access)
    error_message = "cluster_access must not name a principal twice: EKS has one entry for each."
  }
}

variable "compute_mode" {
  description = "`managed` node groups, or EKS `auto` mode. Chosen once: EKS does not go back and forth cleanly."
  type        = string
  default     = "managed"
  nullable    = false

  validation {
    condition     = contains(["managed", "auto"], var.compute_mode)
    error_message = "compute_mode must be managed or auto."
  }
}

variable "node_groups" {
  description = "Managed node groups by name. The autoscaler moves between min_size and max_size; desired_size is where it starts; max_pods null: what EKS gives the instance type. Only with compute_mode `managed`."
  type = map(object({
    instance_types = list(string)
    min_size       = optional(number, 2)
    max_size       = optional(number, 4)
    desired_size   = optional(number, 2)
    disk_gib       = optional(number, 40)
    max_pods       = optional(number)
    capacity_type  = optional(string, "ON_DEMAND")
    labels         = optional(map(string), {})
    taints         = optional(list(object({ key = string, value = optional(string, ""), effect = string })), [])
  }))
  default  = { general = { instance_types = ["t4g.large"] } }
  nullable = false

  validation {
    condition     = (var.compute_mode == "auto") == (length(var.node_groups) == 0)
    error_message = "node_groups must have at least one group with compute_mode managed, and be {} with compute_mode auto, which makes nodes by itself."
  }

  validation {
    condition     = alltrue([for name in keys(var.node_groups) : can(regex("^[a-z][a-z0-9-]{0,29}$", name))])
    error_message = "node_groups must have names of at most 30 small letters, digits and hyphens, with a letter first."
  }

  validation {
    condition = alltrue([
      for group in values(var.node_groups) :
      length(group.instance_types) > 0 && alltrue([for type in group.instance_types : can(regex("^[a-z][a-z0-9-]*\\.[a-z0-9-]+$", type))])
    ])
    error_message = "node_groups must name instance types, as t4g.large."
  }

  validation {
    condition = alltrue([
      for group in values(var.node_groups) :
      length(distinct([for type in group.instance_types : can(regex(local.graviton, type))])) <= 1
    ])
    error_message = "node_groups must not mix Graviton (t4g, m7g, ...) and x86 types in one group; make two groups."
  }

  validation {
    condition = alltrue([
      for group in values(var.node_groups) :
      0 <= group.min_size && group.min_size <= group.desired_size && group.desired_size <= group.max_size &&
      1 <= group.max_size && group.max_size <= 100
    ])
    error_message = "node_groups must have 0 <= min_size <= desired_size <= max_size, and a max_size from 1 to 100."
  }

  validation {
    condition     = alltrue([for group in values(var.node_groups) : group.disk_gib >= 20 && group.disk_gib <= 1000])
    error_message = "node_groups must have a disk_gib from 20 to 1000: images and logs of a node's pods need room."
  }

  validation {
    condition     = alltrue([for group in values(var.node_groups) : group.max_pods == null || contains(range(8, 251), coalesce(group.max_pods, 8))])
    error_message = "node_groups must have a max_pods from 8 to 250 (110 below 30 vCPUs), or none."
  }

  validation {
    condition     = alltrue([for group in values(var.node_groups) : contains(["ON_DEMAND", "SPOT"], group.capacity_type)])
    error_message = "node_groups must have a capacity_type of ON_DEMAND or SPOT."
  }

  validation {
    condition = alltrue([
      for taint in flatten(values(var.node_groups)[*].taints) :
      contains(["NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE"], taint.effect)
    ])
    error_message = "node_groups must have taints with the effect NO_SCHEDULE, NO_EXECUTE or PREFER_NO_SCHEDULE."
  }

  validation {
    condition = !local.production || var.compute_mode == "auto" || anytrue([
      for group in values(var.node_groups) :
      group.capacity_type == "ON_DEMAND" && group.min_size >= 2 && length(group.taints) == 0
    ])
    error_message = "node_groups must have in prod one ON_DEMAND group without taints with a min_size of 2 or more: spot nodes can all go at once."
  }
}

variable "workload_identity" {
  description = "How pods get AWS credentials: `pod_identity`, or `irsa` (IAM roles for service accounts)."
  type        = string
  default     = "pod_identity"
  nullable    = false

  validation {
    condition     = contains(["pod_identity", "irsa"], var.workload_identity)
    error_message = "workload_identity must be pod_identity or irsa."
  }
}

variable "addon_versions" {
  description = "Versions of EKS add-ons to hold on to; all others follow EKS's default for the Kubernetes version."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.addon_versions), local.addons)) == 0
    error_message = "addon_versions must be of add-ons that are installed: ${join(", ", local.addons)}."
  }

  validation {
    condition     = alltrue([for version in values(var.addon_versions) : can(regex("^v[0-9]+\\.[0-9]+\\.[0-9]+-eksbuild\\.[0-9]+$", version))])
    error_message = "addon_versions must be versions as EKS names them: v1.20.0-eksbuild.1 (aws eks describe-addon-versions)."
  }
}
