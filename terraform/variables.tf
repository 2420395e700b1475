# Rules of one variable and rules between variables are validations: all that are broken are told at once, before AWS is asked anything.

# ---- the whole

variable "project" {
  description = "Name of the product: first part of the name of everything."
  type        = string
  default     = "sluice"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z](-?[a-z0-9])+$", var.project)) && length(var.project) <= 11
    error_message = "project must have 2 to 11 small letters, digits and single hyphens, with a letter first: ECR's cache takes prefixes of 30 characters."
  }
}

variable "environment" {
  description = "`dev`, `staging` or `prod`: second part of the name of everything. `prod` has stricter rules."
  type        = string
  nullable    = false

  validation {
    condition     = contains(["dev", "staging", "prod"], var.environment)
    error_message = "environment must be dev, staging or prod."
  }
}

variable "region" {
  description = "AWS region."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[1-9]$", var.region))
    error_message = "region must be the name of an AWS region, as eu-central-1."
  }
}

variable "account_id" {
  description = "Account that this environment lives in. Credentials of any other account are refused."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be 12 digits, in quotes so that leading zeros stay."
  }
}

variable "tags" {
  description = "More tags for everything. Project, Environment and ManagedBy are set already."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = length(var.tags) <= 40 && alltrue([for key, value in var.tags : length(key) <= 128 && length(value) <= 256])
    error_message = "tags must be at most 40, with keys of at most 128 and values of at most 256 characters: AWS takes 50, and some are made here."
  }

  validation {
    condition     = alltrue([for key in keys(var.tags) : can(regex("^[A-Za-z0-9 _.:/=+@-]+$", key)) && !startswith(lower(key), "aws:")])
    error_message = "tags must not begin with aws:, and their keys hold letters, digits, spaces and _.:/=+@- only."
  }

  validation {
    condition     = length(setintersection(keys(var.tags), ["Project", "Environment", "ManagedBy", "Name"])) == 0
    error_message = "tags must not set Project, Environment, ManagedBy or Name; they are set already. Choose other keys."
  }
}

variable "permissions_boundary_arn" {
  description = "Policy that bounds every role made here; null: none."
  type        = string
  default     = null

  validation {
    condition = var.permissions_boundary_arn == null || can(regex(
      "^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/[A-Za-z0-9+=,.@_/-]+$", var.permissions_boundary_arn
    ))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy, or null."
  }
}

variable "destroy_protection" {
  description = "Refuse `terraform destroy`. To destroy prod, apply with this and database_deletion_protection false first (docs/runbooks/destroy.md)."
  type        = bool
  default     = true
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that logs of control plane, network and database are kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days must be a period that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 or 1096 and more years up to 3653."
  }

  validation {
    condition     = var.environment != "prod" || var.log_retention_days >= 365
    error_message = "log_retention_days must be 365 or more in prod: an intrusion is often found months later."
  }
}

variable "key_deletion_window_days" {
  description = "Days between the deletion of a key and the loss of everything that it encrypted."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains(range(7, 31), var.key_deletion_window_days)
    error_message = "key_deletion_window_days must be a whole number from 7 to 30."
  }

  validation {
    condition     = var.environment != "prod" || var.key_deletion_window_days == 30
    error_message = "key_deletion_window_days must be 30 in prod: it is the time to notice a mistake in."
  }
}

# ---- network

variable "vpc_cidr" {
  description = "IPv4 range of the VPC. Chosen once: another range is another VPC."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && try(split("/", var.vpc_cidr)[0] == cidrhost(var.vpc_cidr, 0), false)
    error_message = "vpc_cidr must be an IPv4 range that begins at its first address, as 10.0.0.0/16."
  }

  validation {
    condition     = try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "vpc_cidr must be a /16 to /20: AWS takes no larger VPC, and pods of a smaller one run out of addresses."
  }

  validation {
    condition     = can(regex("^(10\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|192\\.168\\.|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.)", var.vpc_cidr))
    error_message = "vpc_cidr must be a private range (RFC 1918 or RFC 6598): 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 or 100.64.0.0/10."
  }
}

variable "az_count" {
  description = "Availability zones: 2 or 3. A third one can be added later and moves nothing."
  type        = number
  default     = 3
  nullable    = false

  validation {
    condition     = contains([2, 3], var.az_count)
    error_message = "az_count must be 2 or 3: EKS and RDS need two."
  }
}

variable "availability_zones" {
  description = "Which zones, in an order that never changes; empty: the first az_count of the region that EKS can use."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for zone in var.availability_zones : startswith(zone, var.region) && can(regex("[1-9][a-z]$", zone))])
    error_message = "availability_zones must be zones of region, as eu-central-1a."
  }

  validation {
    condition     = length(var.availability_zones) == 0 || length(var.availability_zones) == var.az_count
    error_message = "availability_zones must name az_count zones; name that many, or none."
  }

  validation {
    condition     = length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "availability_zones must not name a zone twice."
  }
}

variable "nat_mode" {
  description = "How the cluster reaches the internet: `single` NAT gateway, one `per_az`, or `none` (no internet gateway either: fully private)."
  type        = string
  default     = "single"
  nullable    = false

  validation {
    condition     = contains(["single", "per_az", "none"], var.nat_mode)
    error_message = "nat_mode must be single, per_az or none."
  }
}

variable "interface_endpoints" {
  description = "AWS services that are reached inside the VPC, as `ecr.api`; null: with nat_mode `none` all that the platform needs, else none. S3 always is."
  type        = set(string)
  default     = null

  validation {
    condition     = alltrue([for service in coalesce(var.interface_endpoints, []) : can(regex("^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", service))])
    error_message = "interface_endpoints must be names of services, as ecr.api or sts, without com.amazonaws and region."
  }

  validation {
    condition     = !contains(coalesce(var.interface_endpoints, []), "s3")
    error_message = "interface_endpoints must not name s3: its gateway endpoint is there already, and free."
  }

  validation {
    condition = var.nat_mode != "none" || var.interface_endpoints == null || length(
      setsubtract(local.private_endpoints, coalesce(var.interface_endpoints, []))
    ) == 0
    error_message = "interface_endpoints must include all that a cluster without internet needs: ${join(", ", local.private_endpoints)}. Add them, or leave the variable out, or choose another nat_mode."
  }
}

# ---- cluster

variable "kubernetes_version" {
  description = "Minor version of Kubernetes on EKS."
  type        = string
  default     = "1.35"
  nullable    = false

  validation {
    condition     = contains(keys(local.kubernetes_support_ends), var.kubernetes_version)
    error_message = "kubernetes_version must be one of ${join(", ", keys(local.kubernetes_support_ends))}: older ones are past standard support, newer ones not tried yet (locals.tf)."
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
    condition     = var.environment != "prod" || alltrue([for cidr in var.cluster_public_access_cidrs : try(tonumber(split("/", cidr)[1]) >= 24, false)])
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
    condition     = var.environment != "prod" || !var.destroy_protection || contains(var.cluster_log_types, "audit")
    error_message = "cluster_log_types must include audit in prod, until destroy_protection is lifted."
  }
}

variable "cluster_access" {
  description = "Who may use the Kubernetes API, by a name of one's own: an IAM role or user, an EKS access policy, and its namespaces (none: the whole cluster). Whoever applies this is given nothing by it."
  type = map(object({
    principal_arn = string
    policy        = optional(string, "AmazonEKSViewPolicy")
    namespaces    = optional(list(string), [])
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
    condition = alltrue([for access in values(var.cluster_access) : contains(
      ["AmazonEKSClusterAdminPolicy", "AmazonEKSAdminPolicy", "AmazonEKSAdminViewPolicy", "AmazonEKSEditPolicy", "AmazonEKSViewPolicy"], access.policy)
    ])
    error_message = "cluster_access must use AmazonEKSClusterAdminPolicy, AmazonEKSAdminPolicy, AmazonEKSAdminViewPolicy, AmazonEKSEditPolicy or AmazonEKSViewPolicy."
  }

  validation {
    condition = alltrue([
      for access in values(var.cluster_access) :
      length(access.namespaces) == 0 || !contains(["AmazonEKSClusterAdminPolicy", "AmazonEKSAdminViewPolicy"], access.policy)
    ])
    error_message = "cluster_access with AmazonEKSClusterAdminPolicy or AmazonEKSAdminViewPolicy is of the whole cluster; remove its namespaces, or use AmazonEKSAdminPolicy."
  }

  validation {
    condition = alltrue([
      for access in values(var.cluster_access) :
      length(access.namespaces) > 0 || !contains(["AmazonEKSAdminPolicy", "AmazonEKSEditPolicy"], access.policy)
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
  description = "Managed node groups by name. The autoscaler moves between min_size and max_size; desired_size is where it starts. Only with compute_mode `managed`."
  type = map(object({
    instance_types = list(string)
    min_size       = optional(number, 2)
    max_size       = optional(number, 4)
    desired_size   = optional(number, 2)
    disk_gib       = optional(number, 40)
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
    error_message = "node_groups must have a disk_gib from 20 to 1000: images and logs of 110 pods need room."
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
    condition = var.environment != "prod" || var.compute_mode == "auto" || anytrue([
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

# ---- registry

variable "registry_of" {
  description = "Environment that makes image repositories, signing key and GitHub's roles for this one too, as `staging`; null: this one does."
  type        = string
  default     = null

  validation {
    condition     = var.registry_of == null || contains(["dev", "staging", "prod"], coalesce(var.registry_of, "dev"))
    error_message = "registry_of must be dev, staging or prod."
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
  description = "Image repositories, below the name of the environment that makes them (`sluice-dev/sluice`). The first is that of Sluice's image."
  type        = list(string)
  default     = ["sluice"]
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
  description = "Let destroy remove repositories that still hold images. In dev only."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.repository_force_delete || var.environment == "dev"
    error_message = "repository_force_delete may be true in dev only; elsewhere delete images by hand, knowing what they are."
  }
}

variable "pull_through_cache" {
  description = "Public registries that ECR caches for the cluster, by ECR's names: `ecr-public`, `k8s`, `quay`."
  type        = set(string)
  default     = ["ecr-public", "k8s", "quay"]
  nullable    = false

  validation {
    condition     = length(setsubtract(var.pull_through_cache, ["ecr-public", "k8s", "quay"])) == 0
    error_message = "pull_through_cache must be some of ecr-public, k8s and quay: others need credentials."
  }
}

# ---- database

variable "database_engine_version" {
  description = "Major version of PostgreSQL; RDS chooses the minor one."
  type        = string
  default     = "17"
  nullable    = false

  validation {
    condition     = contains(["17", "18"], var.database_engine_version)
    error_message = "database_engine_version must be 17 or 18, without a minor version: RDS raises that one, and a fixed one would then be a downgrade."
  }
}

variable "database_instance_class" {
  description = "Instance class. It decides max_connections: 100 for each GiB of memory."
  type        = string
  default     = "db.t4g.medium"
  nullable    = false

  validation {
    condition     = contains(keys(local.database_memory_gib), var.database_instance_class)
    error_message = "database_instance_class must be one of ${join(", ", keys(local.database_memory_gib))}; for another one add its memory to locals.tf."
  }

  validation {
    condition     = var.environment != "prod" || lookup(local.database_memory_gib, var.database_instance_class, 4) >= 4
    error_message = "database_instance_class must have 4 GiB or more in prod: the chart's pods need more than 200 connections while they are replaced."
  }
}

variable "database_name" {
  description = "Database that is made in the instance. Chosen once: another name is another instance."
  type        = string
  default     = "sluice"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z][a-z0-9_]{0,62}$", var.database_name)) && !contains(["postgres", "template0", "template1", "rdsadmin"], var.database_name)
    error_message = "database_name must have 1 to 63 small letters, digits and underscores, with a letter first, and not be one of PostgreSQL's or RDS's own."
  }
}

variable "database_storage_gib" {
  description = "Storage at first, in GiB."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = var.database_storage_gib >= 20 && var.database_storage_gib <= 65536 && floor(var.database_storage_gib) == var.database_storage_gib
    error_message = "database_storage_gib must be a whole number from 20 to 65536."
  }
}

variable "database_max_storage_gib" {
  description = "What storage may grow to by itself, in GiB."
  type        = number
  default     = 100
  nullable    = false

  validation {
    condition     = var.database_max_storage_gib >= ceil(var.database_storage_gib * 1.1) && var.database_max_storage_gib <= 65536
    error_message = "database_max_storage_gib must be a tenth above database_storage_gib or more, and at most 65536: RDS refuses less. Raise it."
  }
}

variable "database_multi_az" {
  description = "Keep a standby in another zone. prod must."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = var.environment != "prod" || var.database_multi_az
    error_message = "database_multi_az must be true in prod: without a standby the loss of a zone is an outage."
  }
}

variable "database_backup_retention_days" {
  description = "Days that any moment can be restored from."
  type        = number
  default     = 7
  nullable    = false

  validation {
    condition     = contains(range(1, 36), var.database_backup_retention_days)
    error_message = "database_backup_retention_days must be a whole number from 1 to 35."
  }

  validation {
    condition     = var.environment != "prod" || var.database_backup_retention_days >= 14
    error_message = "database_backup_retention_days must be 14 or more in prod."
  }
}

variable "database_backup_window" {
  description = "Daily window of backups, UTC."
  type        = string
  default     = "02:00-03:00"
  nullable    = false

  validation {
    condition = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$", var.database_backup_window)) && try(timecmp(
      timeadd("2000-01-01T${substr(var.database_backup_window, 0, 5)}:00Z", "30m"), "2000-01-01T${substr(var.database_backup_window, 6, 5)}:00Z"
    ) <= 0, false)
    error_message = "database_backup_window must be hh:mm-hh:mm (UTC) of half an hour or more, and end on the day it begins."
  }
}

variable "database_maintenance_window" {
  description = "Weekly window of changes that need a restart, UTC."
  type        = string
  default     = "sun:04:00-sun:05:00"
  nullable    = false

  validation {
    condition = can(regex(
      "^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$",
      var.database_maintenance_window
      )) && try(substr(var.database_maintenance_window, 0, 3) == substr(var.database_maintenance_window, 10, 3) && timecmp(
      timeadd("2000-01-01T${substr(var.database_maintenance_window, 4, 5)}:00Z", "30m"),
      "2000-01-01T${substr(var.database_maintenance_window, 14, 5)}:00Z"
    ) <= 0, false)
    error_message = "database_maintenance_window must be ddd:hh:mm-ddd:hh:mm (UTC), as sun:04:00-sun:05:00, of half an hour or more, and end on the day it begins."
  }

  validation {
    # One ends before the other begins.
    condition = try(
      timecmp("2000-01-01T${substr(var.database_backup_window, 6, 5)}:00Z", "2000-01-01T${substr(var.database_maintenance_window, 4, 5)}:00Z") <= 0 ||
      timecmp("2000-01-01T${substr(var.database_maintenance_window, 14, 5)}:00Z", "2000-01-01T${substr(var.database_backup_window, 0, 5)}:00Z") <= 0, true
    )
    error_message = "database_maintenance_window must not overlap database_backup_window: RDS refuses it. Move one of them."
  }
}

variable "database_apply_immediately" {
  description = "Restart the database for changes at once instead of in its maintenance window."
  type        = bool
  default     = false
  nullable    = false
}

variable "database_monitoring_interval" {
  description = "Seconds between two samples of enhanced monitoring; 0: off."
  type        = number
  default     = 0
  nullable    = false

  validation {
    condition     = contains([0, 1, 5, 10, 15, 30, 60], var.database_monitoring_interval)
    error_message = "database_monitoring_interval must be 0, 1, 5, 10, 15, 30 or 60."
  }

  validation {
    condition     = var.environment != "prod" || var.database_monitoring_interval > 0
    error_message = "database_monitoring_interval must not be 0 in prod; 60 costs least."
  }
}

variable "database_deletion_protection" {
  description = "Let RDS refuse to delete the instance."
  type        = bool
  default     = true
  nullable    = false

  validation {
    condition     = !var.database_deletion_protection || var.destroy_protection
    error_message = "database_deletion_protection must not be true when destroy_protection is false: destroy would take everything but the database. Set both, or neither."
  }

  validation {
    condition     = var.environment != "prod" || var.database_deletion_protection || !var.destroy_protection
    error_message = "database_deletion_protection may be false in prod only together with destroy_protection = false, for a destroy. Set both, or neither."
  }
}

variable "database_skip_final_snapshot" {
  description = "Delete the instance without a last snapshot. Never in prod."
  type        = bool
  default     = false
  nullable    = false

  validation {
    condition     = !var.database_skip_final_snapshot || var.environment != "prod"
    error_message = "database_skip_final_snapshot must be false in prod: the last snapshot is all that is left of the data."
  }
}

# ---- identity and hand-over

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
  description = "Repository whose workflows push images, sign them and write the GitOps state: names and numeric ids (`gh api repos/OWNER/NAME --jq '.owner.id, .id'`), and from which context each purpose runs; null: no such roles."
  type = object({
    owner         = string
    owner_id      = number
    repository    = string
    repository_id = number
    push_context  = optional(string)
    sign_context  = optional(string)
    write_context = optional(string)
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
      for context in compact([var.github.push_context, var.github.sign_context, var.github.write_context]) :
      can(regex("^(environment:[A-Za-z0-9._-]+|ref:refs/(heads|tags)/[A-Za-z0-9._/-]+)$", context))
    ]), false)
    error_message = "github must have contexts that are exact: environment:NAME, ref:refs/heads/BRANCH or ref:refs/tags/TAG; no wildcard, and never pull_request."
  }

  validation {
    condition = var.github == null || try(length(distinct([
      for purpose, context in { push = var.github.push_context, sign = var.github.sign_context, gitops = var.github.write_context } :
      coalesce(context, "environment:${var.environment}-${purpose}")
    ])) == 3, false)
    error_message = "github must have a context of its own for each of push, sign and write: a job that can push must not be able to sign."
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
