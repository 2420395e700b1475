output "host" {
  description = "Host name of the instance."
  value       = aws_db_instance.this.address
}

output "port" {
  description = "Port of PostgreSQL."
  value       = aws_db_instance.this.port
}

output "name" {
  description = "Name of the database."
  value       = aws_db_instance.this.db_name
}

output "identifier" {
  description = "Identifier of the instance."
  value       = aws_db_instance.this.identifier
}

output "resource_id" {
  description = "Id that IAM policies name the instance by."
  value       = aws_db_instance.this.resource_id
}

output "owner_secret_arn" {
  description = "ARN of the secret with the owner's user and password, which RDS rotates."
  value       = one(aws_db_instance.this.master_user_secret[*].secret_arn)
}

output "key_arn" {
  description = "ARN of the database's key."
  value       = module.key.arn
}
