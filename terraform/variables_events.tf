# Where events go when one PostgreSQL is not enough (docs/scaling.md of Sluice).

variable "queue" {
  description = "A queue of SQS before the store: deliveries after which SQS moves a message to the dead letters, and the ServiceAccount of KEDA's operator, which may then count messages; `{}` for the defaults, null: no queue."
  type = object({
    max_receive_count      = optional(number, 50)
    scaler_service_account = optional(object({ namespace = string, name = string }))
  })
  default = null

  validation {
    condition     = var.queue == null || try(contains(range(11, 1001), var.queue.max_receive_count), false)
    error_message = "queue must have max_receive_count as a whole number from 11 to 1000: a message comes again whenever a worker is stopped, so a low one would bury messages that are whole."
  }
}

variable "dynamodb" {
  description = "A table of DynamoDB for events instead of PostgreSQL: over how many shards its indexes are spread, and whether DynamoDB refuses to delete it; `{}` for the defaults, null: no table. The database stays, for Terraform never deletes it by itself."
  type = object({
    shards              = optional(number, 8)
    deletion_protection = optional(bool, true)
  })
  default = null

  validation {
    condition     = var.dynamodb == null || try(contains(range(1, 129), var.dynamodb.shards), false)
    error_message = "dynamodb must have shards as a whole number from 1 to 128."
  }

  validation {
    condition     = var.dynamodb == null || try(!var.dynamodb.deletion_protection || var.destroy_protection, true)
    error_message = "dynamodb.deletion_protection must not be true when destroy_protection is false: destroy would take everything but the table. Set both, or neither."
  }

  validation {
    condition     = var.dynamodb == null || try(!local.production || var.dynamodb.deletion_protection || !var.destroy_protection, true)
    error_message = "dynamodb.deletion_protection may be false in prod only together with destroy_protection = false, for a destroy. Set both, or neither."
  }
}
