output "environment_variables" {
  description = "What configures each kind of task: EXCHANGE_PLATFORM_* without secrets (`terraform output -json environment_variables`)."
  value       = local.environment_variables
}

output "secret_variables" {
  description = "The variables of each kind of task that are secrets: where each is kept, never its value."
  value       = local.secret_variables
}

output "api_url" {
  description = "Where the API answers; public_url is to point to it."
  value       = module.api.url
}

output "dkim_tokens" {
  description = "Publish for each a CNAME <token>._domainkey.<mail_domain> to <token>.dkim.amazonses.com."
  value       = module.messaging.dkim_tokens
}

output "repository_urls" {
  description = "Where images are pushed."
  value       = module.release.repository_urls
}

output "artifacts_bucket" {
  description = "Where the function's zip is uploaded."
  value       = module.release.artifacts_bucket
}

output "signing_profile" {
  description = "The profile that signs the function's zip (GitHub: SIGNING_PROFILE); empty where it is not signed."
  value       = module.release.signing_profile
}

output "publish_role_arn" {
  description = "The role that a version's tag enters (GitHub: AWS_PUBLISH_ROLE)."
  value       = module.release.publish_role_arn
}

output "plan_role_arn" {
  description = "The role that a version's tag enters to plan (GitHub: AWS_PLAN_ROLE)."
  value       = module.release.plan_role_arn
}

output "apply_role_arn" {
  description = "The role that an approved apply enters (GitHub: AWS_APPLY_ROLE)."
  value       = module.release.apply_role_arn
}

output "cluster_name" {
  description = "The ECS cluster of Dagster and the API."
  value       = module.dagster.cluster_name
}

output "run_task_family" {
  description = "The task definition that Dagster's runs are started from."
  value       = module.dagster.run_task_family
}

output "task_families" {
  description = "The task definition of each kind of Dagster's tasks, and of the one-off tasks `migrate` and `database-users`."
  value       = module.dagster.task_families
}

output "network" {
  description = "Where one-off tasks (migrations) run."
  value = {
    subnet_ids         = module.network.private_subnet_ids
    security_group_ids = module.network.task_group_ids
  }
}

output "dashboard" {
  description = "The CloudWatch dashboard."
  value       = module.observability.dashboard
}

output "policies" {
  description = "What each task may do."
  value       = merge(module.dagster.policies, module.api.policies)
}
