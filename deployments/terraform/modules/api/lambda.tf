# The same application on Lambda. Its zip is built by `make lambda`, lies in the artifacts bucket, and is named by its content.
data "aws_iam_policy_document" "lambda_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["lambda.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "lambda" {
  count              = local.on_lambda ? 1 : 0
  name               = "${var.name}-api-lambda"
  assume_role_policy = data.aws_iam_policy_document.lambda_assume.json
}

data "aws_iam_policy_document" "lambda" {
  #checkov:skip=CKV_AWS_111:The calls for network interfaces and traces know no narrower resource
  #checkov:skip=CKV_AWS_356:The calls for network interfaces and traces know no narrower resource
  source_policy_documents = [data.aws_iam_policy_document.api.json]

  statement {
    sid       = "WriteLogs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.api.arn}:*"]
  }

  statement {
    sid       = "ReadSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = local.secret_arns
  }

  # A function in a network makes its own network interfaces; AWS knows no narrower resource for these calls.
  statement {
    sid       = "JoinNetwork"
    actions   = ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface"]
    resources = ["*"]
  }

  statement {
    sid       = "Trace"
    actions   = ["xray:PutTraceSegments", "xray:PutTelemetryRecords"]
    resources = ["*"]
  }
}

resource "aws_iam_role_policy" "lambda" {
  count  = local.on_lambda ? 1 : 0
  name   = "serve"
  role   = aws_iam_role.lambda[0].id
  policy = data.aws_iam_policy_document.lambda.json
}

# A zip that the profile did not sign is not deployed, whoever put it into the bucket.
resource "aws_lambda_code_signing_config" "api" {
  count       = local.on_lambda && var.sign_function ? 1 : 0
  description = "What a release signed"

  allowed_publishers {
    signing_profile_version_arns = [var.signing_profile_arn]
  }

  policies {
    untrusted_artifact_on_deployment = "Enforce"
  }
}

resource "aws_lambda_function" "api" {
  #checkov:skip=CKV_AWS_116:Called by API Gateway alone, which waits for the answer: nothing to keep
  count                          = local.on_lambda ? 1 : 0
  function_name                  = "${var.name}-api"
  description                    = "The HTTP API of the Exchange Platform"
  role                           = aws_iam_role.lambda[0].arn
  runtime                        = "python3.12"
  architectures                  = ["x86_64"]
  handler                        = "exchange_platform.api.lambda_handler.handler"
  s3_bucket                      = var.artifacts_bucket
  s3_key                         = var.lambda_key
  memory_size                    = var.lambda_memory
  timeout                        = 29
  reserved_concurrent_executions = var.lambda_concurrency
  kms_key_arn                    = var.key_arn
  publish                        = true
  code_signing_config_arn        = one(aws_lambda_code_signing_config.api[*].arn)

  environment {
    variables = merge(var.environment, { for key, source in var.secrets : "${key}_SECRET" => source })
  }

  vpc_config {
    subnet_ids         = var.private_subnet_ids
    security_group_ids = [var.tasks_group_id]
  }

  tracing_config {
    mode = "Active"
  }

  logging_config {
    log_format = "Text"
    log_group  = aws_cloudwatch_log_group.api.name
  }
}

# What API Gateway calls; a release moves it to the new version, a roll-back to the old one.
resource "aws_lambda_alias" "live" {
  count            = local.on_lambda ? 1 : 0
  name             = "live"
  function_name    = aws_lambda_function.api[0].function_name
  function_version = aws_lambda_function.api[0].version
}

resource "aws_apigatewayv2_api" "api" {
  count         = local.on_lambda ? 1 : 0
  name          = "${var.name}-api"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "api" {
  count                  = local.on_lambda ? 1 : 0
  api_id                 = aws_apigatewayv2_api.api[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_alias.live[0].invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "api" {
  #checkov:skip=CKV_AWS_309:The application compares tokens itself; its pages are open
  count     = local.on_lambda ? 1 : 0
  api_id    = aws_apigatewayv2_api.api[0].id
  route_key = "$default"
  target    = "integrations/${aws_apigatewayv2_integration.api[0].id}"
  # Applications show a bearer token, which the application itself compares; pages are open.
  authorization_type = "NONE"
}

resource "aws_cloudwatch_log_group" "gateway" {
  count             = local.on_lambda ? 1 : 0
  name              = "/${var.name}/gateway"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

resource "aws_apigatewayv2_stage" "api" {
  count       = local.on_lambda ? 1 : 0
  api_id      = aws_apigatewayv2_api.api[0].id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    detailed_metrics_enabled = true
    throttling_burst_limit   = var.throttle.burst
    throttling_rate_limit    = var.throttle.rate
  }

  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.gateway[0].arn
    # No query and no header: what must not be in a log is in neither of these.
    format = jsonencode({
      requestId = "$context.requestId"
      at        = "$context.requestTime"
      route     = "$context.routeKey"
      method    = "$context.httpMethod"
      status    = "$context.status"
      ms        = "$context.responseLatency"
    })
  }
}

resource "aws_lambda_permission" "gateway" {
  count         = local.on_lambda ? 1 : 0
  statement_id  = "FromApiGateway"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.api[0].function_name
  qualifier     = aws_lambda_alias.live[0].name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.api[0].execution_arn}/*/*"
}
