output "bucket" {
  description = "The lake's bucket."
  value       = module.bucket.name
}

output "read_policy" {
  description = "Policy of a reader."
  value       = data.aws_iam_policy_document.read.json
}

output "write_policy" {
  description = "Policy of a writer."
  value       = data.aws_iam_policy_document.write.json
}
