output "names" {
  description = "Each table's name."
  value = {
    profiles = aws_dynamodb_table.profiles.name
    tokens   = aws_dynamodb_table.tokens.name
  }
}

output "arns" {
  description = "Each table's ARN."
  value = {
    profiles = aws_dynamodb_table.profiles.arn
    tokens   = aws_dynamodb_table.tokens.arn
  }
}
