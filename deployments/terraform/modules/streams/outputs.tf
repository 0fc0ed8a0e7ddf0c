output "names" {
  description = "Each stream's name."
  value       = { for key, stream in aws_kinesis_stream.this : key => stream.name }
}

output "arns" {
  description = "Each stream's ARN."
  value       = { for key, stream in aws_kinesis_stream.this : key => stream.arn }
}
