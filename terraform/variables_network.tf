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
  description = "Availability zones: 2 or 3. A third one can be added later: node groups are made anew over three, the database may use it, the control plane stays where it was made."
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
