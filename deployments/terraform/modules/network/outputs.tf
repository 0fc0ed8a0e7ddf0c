output "vpc_id" {
  description = "The network."
  value       = aws_vpc.this.id
}

output "public_subnet_ids" {
  description = "Where load balancers stand."
  value       = [for subnet in aws_subnet.public : subnet.id]
}

output "private_subnet_ids" {
  description = "Where tasks and functions run."
  value       = [for subnet in aws_subnet.private : subnet.id]
}

output "isolated_subnet_ids" {
  description = "Where databases lie."
  value       = [for subnet in aws_subnet.isolated : subnet.id]
}

output "load_balancer_group_id" {
  description = "Security group of load balancers."
  value       = aws_security_group.load_balancer.id
}

output "task_group_ids" {
  description = "Security group of each kind of task."
  value       = { for kind, group in aws_security_group.tasks : kind => group.id }
}

output "database_group_ids" {
  description = "Security group of each database."
  value       = { for database, group in aws_security_group.databases : database => group.id }
}
