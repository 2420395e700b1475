output "queue_url" {
  description = "QUEUE_URL of the service and its worker: region and what the queues' names begin with."
  value       = "sqs://${var.account.region}/${var.name}-"
}

output "url" {
  description = "URL of the queue."
  value       = aws_sqs_queue.this.url
}

output "arn" {
  description = "ARN of the queue."
  value       = aws_sqs_queue.this.arn
}

output "dead_letter_url" {
  description = "URL of the queue of dead letters."
  value       = aws_sqs_queue.dead.url
}

output "worker_role_arn" {
  description = "ARN of the worker's role."
  value       = module.worker.arn
}

output "worker_role_name" {
  description = "Name of the worker's role."
  value       = module.worker.name
}
