variable "name" {
  description = "First part of names: the queues are `<name>-logs` and `<name>-logs-dead`."
  type        = string
  nullable    = false
}

variable "account" {
  description = "Account, partition and region of the queue."
  type        = object({ id = string, partition = string, region = string })
  nullable    = false
}

variable "cluster" {
  description = "The cluster, as the workload_role module takes it."
  type = object({
    name              = string
    arn               = string
    workload_identity = string
    oidc_provider_arn = optional(string)
  })
  nullable = false
}

variable "api_role_name" {
  description = "Role of the API's ServiceAccount, which gets the right to send."
  type        = string
  nullable    = false
}

variable "worker_service_account" {
  description = "ServiceAccount of the worker, which gets a role of its own."
  type        = object({ namespace = string, name = string })
  default     = { namespace = "sluice", name = "sluice-worker" }
  nullable    = false
}

variable "worker_policies" {
  description = "More policy documents (JSON) for the worker: its login to the database."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "scaler_service_account" {
  description = "ServiceAccount of KEDA's operator, which gets a role that may count messages; null: no such role."
  type        = object({ namespace = string, name = string })
  default     = null
}

variable "max_receive_count" {
  description = "Deliveries after which SQS moves a message to the dead letters. Well above 10: a message comes again whenever a worker is stopped."
  type        = number
  default     = 50
  nullable    = false
}

variable "key_deletion_window_days" {
  description = "Deletion window of the queue's key."
  type        = number
  default     = 30
  nullable    = false
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the worker's role, or null."
  type        = string
  default     = null
}
