variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "availability_zones" {
  description = "Two or three zones of the region, in an order that never changes."
  type        = list(string)
  default     = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
}

variable "admin_role_arn" {
  description = "IAM role that administers the cluster."
  type        = string
}
