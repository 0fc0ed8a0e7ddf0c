# The API: on Fargate behind a load balancer, on Lambda behind API Gateway, or both while moving from one to the other.
# docs/deployment.md says which, why, and what each costs.
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  on_fargate = contains(var.runs_on, "fargate")
  on_lambda  = contains(var.runs_on, "lambda")
  # Behind the load balancer every connection is the balancer's: it adds whom its own was from, as the last entry of X-Forwarded-For. API Gateway
  # gives the function the caller's address itself, so there no header is believed.
  task_environment = merge(var.environment, { EXCHANGE_PLATFORM_TRUSTED_PROXIES = "1" })
  environment      = [for key in sort(keys(local.task_environment)) : { name = key, value = local.task_environment[key] }]
  secret_arns      = distinct([for place in values(var.secrets) : join(":", slice(split(":", place), 0, 7))])
  secrets          = [for key in sort(keys(var.secrets)) : { name = key, valueFrom = var.secrets[key] }]
}

resource "aws_cloudwatch_log_group" "api" {
  name              = "/${var.name}/api"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

data "aws_iam_policy_document" "api" {
  source_policy_documents = [var.lake_read_policy]

  # The age of the stream tells whether it was made anew, and orders are lost.
  statement {
    sid       = "PublishOrders"
    actions   = ["kinesis:PutRecords", "kinesis:DescribeStreamSummary"]
    resources = [var.stream_arns["bet-orders"]]
  }

  statement {
    sid       = "ReadProfiles"
    actions   = ["dynamodb:GetItem"]
    resources = [var.table_arns["profiles"]]
  }

  statement {
    sid       = "UseTokens"
    actions   = ["dynamodb:UpdateItem"]
    resources = [var.table_arns["tokens"]]
  }

  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

# --- on Fargate

# Starts the API's containers: it pulls their image, writes their log and reads the secrets that they are given, and no others.
resource "aws_iam_role" "execution" {
  count              = local.on_fargate ? 1 : 0
  name               = "${var.name}-api-execution"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

data "aws_iam_policy_document" "execution" {
  statement {
    sid       = "PullImage"
    actions   = ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"]
    resources = [var.repository_arn]
  }

  # A token for the registry as a whole: AWS knows no narrower resource for it.
  statement {
    sid       = "EnterRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

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

  statement {
    sid       = "DecryptSecrets"
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]
  }
}

resource "aws_iam_role_policy" "execution" {
  count  = local.on_fargate ? 1 : 0
  name   = "start-containers"
  role   = aws_iam_role.execution[0].id
  policy = data.aws_iam_policy_document.execution.json
}

data "aws_iam_policy_document" "tasks_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

resource "aws_iam_role" "task" {
  count              = local.on_fargate ? 1 : 0
  name               = "${var.name}-api"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

resource "aws_iam_role_policy" "task" {
  count  = local.on_fargate ? 1 : 0
  name   = "serve"
  role   = aws_iam_role.task[0].id
  policy = data.aws_iam_policy_document.api.json
}

resource "aws_ecs_task_definition" "api" {
  count                    = local.on_fargate ? 1 : 0
  family                   = "${var.name}-api"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory
  execution_role_arn       = aws_iam_role.execution[0].arn
  task_role_arn            = aws_iam_role.task[0].arn

  container_definitions = jsonencode([{
    name                   = "api"
    image                  = var.image
    essential              = true
    readonlyRootFilesystem = true
    user                   = "10001"
    environment            = local.environment
    secrets                = local.secrets
    portMappings           = [{ containerPort = 8000, protocol = "tcp" }]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    linuxParameters        = { initProcessEnabled = true }
    stopTimeout            = 30
    healthCheck = {
      command     = ["CMD", "python", "-m", "exchange_platform.local.probe", "http://127.0.0.1:8000/health"]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 30
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.api.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "api"
      }
    }
  }])

  volume {
    name = "scratch"
  }
}

resource "aws_lb" "api" {
  #checkov:skip=CKV2_AWS_76:No part of the application is Java, so none logs by Log4j
  count                      = local.on_fargate ? 1 : 0
  name                       = "${var.name}-api"
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = var.public_subnet_ids
  security_groups            = [var.load_balancer_group_id]
  drop_invalid_header_fields = true
  enable_deletion_protection = var.deletion_protection

  access_logs {
    bucket  = aws_s3_bucket_policy.access_logs[0].bucket
    prefix  = "api"
    enabled = true
  }
}

resource "aws_lb_target_group" "api" {
  #checkov:skip=CKV_AWS_378:TLS ends at the load balancer, whose group alone reaches the tasks, inside the network
  count                = local.on_fargate ? 1 : 0
  name                 = "${var.name}-api"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = 8000
  deregistration_delay = 30

  health_check {
    path                = "/health"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }
}

resource "aws_lb_listener" "api" {
  count             = local.on_fargate ? 1 : 0
  load_balancer_arn = aws_lb.api[0].arn
  port              = 443
  protocol          = "HTTPS"
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  certificate_arn   = var.certificate_arn

  # A request under a name that is not the API's reaches no task.
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      message_body = "This is not the name of this server."
      status_code  = "421"
    }
  }
}

resource "aws_lb_listener_rule" "api" {
  count        = local.on_fargate ? 1 : 0
  listener_arn = aws_lb_listener.api[0].arn
  priority     = 1

  condition {
    host_header {
      values = var.host_names
    }
  }

  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.api[0].arn
  }
}

resource "aws_ecs_service" "api" {
  count                  = local.on_fargate ? 1 : 0
  name                   = "api"
  cluster                = var.cluster_arn
  task_definition        = aws_ecs_task_definition.api[0].arn
  desired_count          = var.tasks.min
  launch_type            = "FARGATE"
  platform_version       = "LATEST"
  enable_execute_command = false
  propagate_tags         = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.private_subnet_ids
    security_groups  = [var.tasks_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.api[0].arn
    container_name   = "api"
    container_port   = 8000
  }

  lifecycle {
    ignore_changes = [desired_count] # autoscaling's
  }

  depends_on = [aws_lb_listener_rule.api]
}

resource "aws_appautoscaling_target" "api" {
  count              = local.on_fargate ? 1 : 0
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster_name}/${aws_ecs_service.api[0].name}"
  min_capacity       = var.tasks.min
  max_capacity       = var.tasks.max
}

resource "aws_appautoscaling_policy" "api" {
  count              = local.on_fargate ? 1 : 0
  name               = "${var.name}-api-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.api[0].service_namespace
  scalable_dimension = aws_appautoscaling_target.api[0].scalable_dimension
  resource_id        = aws_appautoscaling_target.api[0].resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 55
    scale_in_cooldown  = 300
    scale_out_cooldown = 30
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
