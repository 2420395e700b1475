variable "name" {
  description = "First part of names: the table is `<name>-events`."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region of the table."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "service_role_names" {
  description = "Roles that read and write events, by names of one's own: that of the service and, behind a queue, that of its worker."
  type        = map(string)
  nullable    = false
}

variable "migrate_role_name" {
  description = "Role of the migration."
  type        = string
  nullable    = false
}

variable "deletion_protection" {
  description = "Let DynamoDB refuse to delete the table."
  type        = bool
  default     = true
  nullable    = false
}

variable "key_deletion_window_days" {
  description = "Deletion window of the table's key."
  type        = number
  default     = 30
  nullable    = false
}
