variable "name" {
  description = "Name of the VPC and first part of every name in it; also the cluster's name, which load balancer tags carry."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region of the VPC."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "cidr" {
  description = "IPv4 range of the VPC."
  type        = string
  default     = "10.0.0.0/16"
  nullable    = false
}

variable "availability_zones" {
  description = "Two or three zones, in an order that never changes: a zone's place gives its subnets their ranges."
  type        = list(string)
  nullable    = false
}

variable "nat_mode" {
  description = "`single`, `per_az`, or `none`: no internet gateway, no public subnets."
  type        = string
  default     = "single"
  nullable    = false
}

variable "interface_endpoints" {
  description = "AWS services (`ecr.api`, `sts`, ...) that get an interface endpoint in the private subnets."
  type        = set(string)
  default     = []
  nullable    = false
}

variable "dynamodb_endpoint" {
  description = "Reach DynamoDB from the private subnets without a NAT gateway."
  type        = bool
  default     = false
  nullable    = false
}

variable "log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
  default     = 30
  nullable    = false
}

variable "log_key_arn" {
  description = "Key of the log group."
  type        = string
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the flow log role, or null."
  type        = string
  default     = null
}
