output "url" {
  description = "Where the API answers: the load balancer where there is one, else API Gateway."
  value       = local.on_fargate ? "https://${aws_lb.api[0].dns_name}" : aws_apigatewayv2_api.api[0].api_endpoint
}

output "lambda_url" {
  description = "Where the API on Lambda answers; empty without one."
  value       = local.on_lambda ? aws_apigatewayv2_api.api[0].api_endpoint : ""
}

output "load_balancer_suffix" {
  description = "The load balancer, as its metrics name it; empty without one."
  value       = local.on_fargate ? aws_lb.api[0].arn_suffix : ""
}

output "gateway_id" {
  description = "The API of API Gateway, as its metrics name it; empty without one."
  value       = local.on_lambda ? aws_apigatewayv2_api.api[0].id : ""
}

output "function_name" {
  description = "The function; empty without one."
  value       = local.on_lambda ? aws_lambda_function.api[0].function_name : ""
}

output "log_group" {
  description = "The API's log group."
  value       = aws_cloudwatch_log_group.api.name
}

output "policies" {
  description = "What the API may do as a task and as a function, for the tests that hold it against what the code calls."
  value = {
    api           = data.aws_iam_policy_document.api.json
    lambda        = data.aws_iam_policy_document.lambda.json
    api-execution = data.aws_iam_policy_document.execution.json
  }
}
