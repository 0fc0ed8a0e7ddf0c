output "repository_urls" {
  description = "Where each target's images are pushed."
  value       = { for key, repository in aws_ecr_repository.this : key => repository.repository_url }
}

output "repository_arns" {
  description = "The repositories."
  value       = [for repository in aws_ecr_repository.this : repository.arn]
}

output "repository_arn_of" {
  description = "Each target's repository."
  value       = { for key, repository in aws_ecr_repository.this : key => repository.arn }
}

output "artifacts_bucket" {
  description = "Where the function's zip and other artifacts lie."
  value       = module.artifacts.name
}

output "publish_role_arn" {
  description = "The role that a version's tag enters."
  value       = aws_iam_role.publish.arn
}

output "apply_role_arn" {
  description = "The role that an approved apply enters."
  value       = aws_iam_role.apply.arn
}

output "plan_role_arn" {
  description = "The role that a version's tag enters to plan."
  value       = aws_iam_role.plan.arn
}

output "signing_profile_arn" {
  description = "The version of the profile that signs the function's zip; null where it is not signed."
  value       = one(aws_signer_signing_profile.function[*].version_arn)
}

output "signing_profile" {
  description = "Its name; empty where the zip is not signed."
  value       = var.sign_function ? aws_signer_signing_profile.function[0].name : ""
}
