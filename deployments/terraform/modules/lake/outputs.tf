output "data_path" {
  description = "Where the lake's files lie: all that the policies are about."
  value       = "s3://${module.bucket.name}/${local.folder}"
}

output "read_policy" {
  description = "Policy of a reader."
  value       = data.aws_iam_policy_document.read.json
}

output "write_policy" {
  description = "Policy of a writer."
  value       = data.aws_iam_policy_document.write.json
}
