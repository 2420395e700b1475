variable "name" {
  description = "Name of the alias, without `alias/`."
  type        = string
  nullable    = false
}

variable "description" {
  description = "What the key protects."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region that the key lives in."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "deletion_window_days" {
  description = "Days between the deletion of the key and the loss of what it protects."
  type        = number
  default     = 30
  nullable    = false
}

variable "signing" {
  description = "A key pair that signs (P-256), instead of a key that encrypts."
  type        = bool
  default     = false
  nullable    = false
}

variable "policies" {
  description = "Policy documents (JSON) with more statements for the key's policy."
  type        = list(string)
  default     = []
  nullable    = false
}
