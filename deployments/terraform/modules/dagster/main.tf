# Dagster on Fargate: a code server, a daemon and the operators' pages as services; each run a task of its own.
data "aws_region" "current" {}
data "aws_caller_identity" "current" {}

locals {
  log_groups = toset(concat(keys(local.services), keys(local.once), ["run"]))
  # The authority's certificates become a file before the command begins: Dagster's own storage reads them from one.
  entry_point = ["python", "-m", "exchange_platform.process.database_ca"]
  once = {
    migrate        = { command = ["exchange-platform", "migrate"], role = aws_iam_role.once.arn }
    database-users = { command = ["exchange-platform", "database-users"], role = aws_iam_role.once.arn }
  }
  services = {
    code-server = {
      command = ["dagster", "code-server", "start", "-m", "deployments.aws", "-h", "0.0.0.0", "-p", "4000"]
      port    = 4000
      health  = "dagster api grpc-health-check -p 4000"
      cpu     = 512
      # Two processes, the health checks' two, the sensors' ticks and the lake of one of them (tests/deployments/test_memory.py adds them up).
      memory = 2048
    }
    daemon = {
      command = ["dagster-daemon", "run", "-w", "deployments/aws/workspace.yaml"]
      port    = null
      health  = "dagster-daemon liveness-check"
      cpu     = 512
      memory  = 1024
    }
    webserver = {
      command = ["python", "-m", "deployments.webserver", "-h", "0.0.0.0", "-p", "3000", "-w", "deployments/aws/workspace.yaml"]
      port    = 3000
      health  = "python -m exchange_platform.local.probe http://127.0.0.1:3000/server_info"
      cpu     = 512
      memory  = 1024
    }
  }
  # Runs are started by whoever launches them in a group of their own (deployments/run_launcher.py).
  launching = {
    EXCHANGE_PLATFORM_RUN_TASK           = aws_ecs_task_definition.run.family
    EXCHANGE_PLATFORM_CODE_SERVER_HOST   = "${aws_service_discovery_service.code_server.name}.${aws_service_discovery_private_dns_namespace.this.name}"
    EXCHANGE_PLATFORM_RUN_SUBNETS        = join(",", var.subnet_ids)
    EXCHANGE_PLATFORM_RUN_SECURITY_GROUP = var.group_ids["run"]
  }
  environment = {
    for kind, variables in var.environment : kind => [for key in sort(keys(variables)) : { name = key, value = variables[key] }]
  }
  secrets = { for kind, variables in var.secrets : kind => [for key in sort(keys(variables)) : { name = key, valueFrom = variables[key] }] }
}

resource "aws_ecs_cluster" "this" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each          = local.log_groups
  name              = "/${var.name}/${each.key}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

# Daemon and webserver find the code server by this name.
resource "aws_service_discovery_private_dns_namespace" "this" {
  name = "${var.name}.internal"
  vpc  = var.vpc_id
}

resource "aws_service_discovery_service" "code_server" {
  name = "code-server"

  dns_config {
    namespace_id = aws_service_discovery_private_dns_namespace.this.id
    dns_records {
      type = "A"
      ttl  = 5
    }
  }
}

module "compute_logs" {
  source              = "../bucket"
  bucket              = "${var.name}-compute-logs-${var.suffix}"
  key_arn             = var.key_arn
  expire_days         = 30
  old_version_days    = 1
  deletion_protection = false
}

resource "aws_ecs_task_definition" "service" {
  for_each                 = local.services
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = aws_iam_role.services.arn

  container_definitions = jsonencode([{
    name                   = "dagster"
    image                  = var.image
    entryPoint             = local.entry_point
    command                = each.value.command
    essential              = true
    readonlyRootFilesystem = true
    user                   = "10001"
    environment            = concat(local.environment[each.key], [for key in sort(keys(local.launching)) : { name = key, value = local.launching[key] }])
    secrets                = local.secrets[each.key]
    portMappings           = each.value.port == null ? [] : [{ containerPort = each.value.port, protocol = "tcp" }]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    linuxParameters        = { initProcessEnabled = true }
    # A password that was rotated reaches a task when it is started anew: one whose password is refused is not healthy.
    healthCheck = {
      command     = ["CMD-SHELL", "${each.value.health} && python -m exchange_platform.operations.passwords"]
      interval    = 20
      timeout     = 15
      retries     = 3
      startPeriod = 60
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this[each.key].name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = each.key
      }
    }
  }])

  volume {
    name = "scratch"
  }
}

# Each run of Dagster is one task of this definition; a consumer run lives a quarter of an hour and hands over.
resource "aws_ecs_task_definition" "run" {
  family                   = "${var.name}-run"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.run_cpu
  memory                   = var.run_memory
  execution_role_arn       = aws_iam_role.execution["run"].arn
  task_role_arn            = aws_iam_role.runs.arn

  container_definitions = jsonencode([{
    name                   = "run"
    image                  = var.image
    entryPoint             = local.entry_point
    essential              = true
    readonlyRootFilesystem = true
    user                   = "10001"
    environment            = local.environment["run"]
    secrets                = local.secrets["run"]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    linuxParameters        = { initProcessEnabled = true }
    stopTimeout            = 60
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this["run"].name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = "run"
      }
    }
  }])

  volume {
    name = "scratch"
  }
}

# Tasks that somebody starts by hand: they change the schemas, and make the databases' users (docs/deployment.md).
resource "aws_ecs_task_definition" "once" {
  for_each                 = local.once
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = 512
  memory                   = 1024
  execution_role_arn       = aws_iam_role.execution[each.key].arn
  task_role_arn            = each.value.role

  container_definitions = jsonencode([{
    name                   = each.key
    image                  = var.image
    entryPoint             = local.entry_point
    command                = each.value.command
    essential              = true
    readonlyRootFilesystem = true
    user                   = "10001"
    environment            = local.environment[each.key]
    secrets                = local.secrets[each.key]
    mountPoints            = [{ sourceVolume = "scratch", containerPath = "/tmp", readOnly = false }]
    linuxParameters        = { initProcessEnabled = true }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this[each.key].name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = each.key
      }
    }
  }])

  volume {
    name = "scratch"
  }
}

resource "aws_ecs_service" "this" {
  for_each               = local.services
  name                   = each.key
  cluster                = aws_ecs_cluster.this.id
  task_definition        = aws_ecs_task_definition.service[each.key].arn
  desired_count          = 1
  launch_type            = "FARGATE"
  platform_version       = "LATEST"
  enable_execute_command = false
  propagate_tags         = "SERVICE"
  # One daemon at a time: the old one ends before the new one begins. Consumer runs go on meanwhile.
  deployment_minimum_healthy_percent = each.key == "daemon" ? 0 : 100
  deployment_maximum_percent         = each.key == "daemon" ? 100 : 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.group_ids[each.key]]
    assign_public_ip = false
  }

  dynamic "service_registries" {
    for_each = each.key == "code-server" ? [1] : []
    content {
      registry_arn = aws_service_discovery_service.code_server.arn
    }
  }
}
