output "cluster_name" {
  description = "The ECS cluster."
  value       = aws_ecs_cluster.this.name
}

output "cluster_arn" {
  description = "Its ARN."
  value       = aws_ecs_cluster.this.arn
}

output "run_task_family" {
  description = "The task definition that runs are started from."
  value       = aws_ecs_task_definition.run.family
}

output "code_server_host" {
  description = "Where daemon and webserver find the code server."
  value       = "${aws_service_discovery_service.code_server.name}.${aws_service_discovery_private_dns_namespace.this.name}"
}

output "compute_logs_bucket" {
  description = "Where the output of runs is kept."
  value       = module.compute_logs.name
}

output "log_groups" {
  description = "Each part's log group."
  value       = { for key, group in aws_cloudwatch_log_group.this : key => group.name }
}

output "policies" {
  description = "Each role's policy, for the tests that hold it against what the code calls."
  value = merge({
    services = data.aws_iam_policy_document.services.json
    runs     = data.aws_iam_policy_document.runs.json
  }, { for kind, document in data.aws_iam_policy_document.execution : "${kind}-execution" => document.json })
}

output "task_families" {
  description = "The task definition of each kind of task."
  value = merge(
    { for kind, task in aws_ecs_task_definition.service : kind => task.family },
    { for kind, task in aws_ecs_task_definition.once : kind => task.family },
    { run = aws_ecs_task_definition.run.family },
  )
}
