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

output "tasks_group_id" {
  description = "Security group of tasks and functions."
  value       = aws_security_group.tasks.id
}

output "databases_group_id" {
  description = "Security group of databases."
  value       = aws_security_group.databases.id
}
