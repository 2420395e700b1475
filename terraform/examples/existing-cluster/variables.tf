variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"
}

variable "cluster_name" {
  description = "Name of the EKS cluster that is there."
  type        = string
}

variable "data_subnet_ids" {
  description = "Subnets for the database, in two zones or more, of the cluster's VPC."
  type        = list(string)
}

variable "vpc_cidr" {
  description = "IPv4 range of the cluster's VPC."
  type        = string
}

variable "node_architectures" {
  description = "Architectures of the cluster's nodes: `amd64`, `arm64`."
  type        = list(string)
  default     = ["amd64"]
}
