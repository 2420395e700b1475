output "vpc_id" {
  description = "Id of the VPC."
  value       = aws_vpc.this.id
}

output "vpc_arn" {
  description = "ARN of the VPC."
  value       = aws_vpc.this.arn
}

output "public_subnet_ids" {
  description = "Public subnets in the order of the zones; empty when nat_mode is none."
  value       = [for zone in keys(local.public) : aws_subnet.public[zone].id]
}

output "private_subnet_ids" {
  description = "Private subnets in the order of the zones."
  value       = [for zone in keys(local.private) : aws_subnet.private[zone].id]
}

output "data_subnet_ids" {
  description = "Data subnets in the order of the zones."
  value       = [for zone in keys(local.data) : aws_subnet.data[zone].id]
}

output "data_subnet_cidrs" {
  description = "Ranges that databases take their addresses from."
  value       = values(local.data)
}

output "nat_addresses" {
  description = "Public addresses that the cluster's traffic leaves by."
  value       = [for address in aws_eip.nat : address.public_ip]
}
