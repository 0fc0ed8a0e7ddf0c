# Who may do what. `execution` starts the containers of one kind of task, `services` are Dagster's own, `runs` are what consumes, notifies and tidies.
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

# Each kind of task is started by a role of its own, which reads that kind's secrets and writes its log.
resource "aws_iam_role" "execution" {
  for_each           = local.log_groups
  name               = "${var.name}-${each.key}-execution"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

data "aws_iam_policy_document" "execution" {
  for_each = local.log_groups

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
    resources = ["${aws_cloudwatch_log_group.this[each.key].arn}:*"]
  }

  statement {
    sid       = "ReadSecrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = distinct([for place in values(var.secrets[each.key]) : join(":", slice(split(":", place), 0, 7))])
  }

  statement {
    sid       = "DecryptSecrets"
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]
  }
}

resource "aws_iam_role_policy" "execution" {
  for_each = local.log_groups
  name     = "start-containers"
  role     = aws_iam_role.execution[each.key].id
  policy   = data.aws_iam_policy_document.execution[each.key].json
}

resource "aws_iam_role" "services" {
  name               = "${var.name}-dagster"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

data "aws_iam_policy_document" "services" {
  #checkov:skip=CKV_AWS_356:These calls know no narrower resource, or a condition holds them to one namespace
  source_policy_documents = [var.lake_read_policy]

  statement {
    sid       = "LaunchRuns"
    actions   = ["ecs:RunTask"]
    resources = ["arn:aws:ecs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:task-definition/${aws_ecs_task_definition.run.family}:*"]
    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [aws_ecs_cluster.this.arn]
    }
  }

  statement {
    sid       = "FollowRuns"
    actions   = ["ecs:DescribeTasks", "ecs:StopTask", "ecs:TagResource"]
    resources = ["arn:aws:ecs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}:task/${aws_ecs_cluster.this.name}/*"]
  }

  # These calls know no resource. A run is started in the subnets and security groups of the task that starts it: hence the interfaces.
  statement {
    sid       = "ReadDefinitions"
    actions   = ["ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces"]
    resources = ["*"]
  }

  statement {
    sid       = "HandRolesToRuns"
    actions   = ["iam:PassRole"]
    resources = [aws_iam_role.runs.arn, aws_iam_role.execution["run"].arn]
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }

  statement {
    sid       = "ComputeLogs"
    actions   = ["s3:GetObject", "s3:PutObject"]
    resources = ["${module.compute_logs.arn}/runs/*"]
  }

  statement {
    sid       = "ListComputeLogs"
    actions   = ["s3:ListBucket"]
    resources = [module.compute_logs.arn]
  }

  # Figures know no resource; the namespace is what can be held to.
  statement {
    sid       = "TellFigures"
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]
    condition {
      test     = "StringEquals"
      variable = "cloudwatch:namespace"
      values   = [var.metric_namespace]
    }
  }

  statement {
    sid       = "RunLogs"
    actions   = ["logs:GetLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this["run"].arn}:*"]
  }

  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

resource "aws_iam_role_policy" "services" {
  name   = "run-dagster"
  role   = aws_iam_role.services.id
  policy = data.aws_iam_policy_document.services.json
}

# The tasks that change the schemas and make the databases' users call nothing of AWS: their role has no policy.
resource "aws_iam_role" "once" {
  name               = "${var.name}-once"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

resource "aws_iam_role" "runs" {
  name               = "${var.name}-runs"
  assume_role_policy = data.aws_iam_policy_document.tasks_assume.json
}

# The calls that only describe are `exchange-platform doctor`'s, which is run as such a task.
data "aws_iam_policy_document" "runs" {
  source_policy_documents = [var.lake_write_policy]

  statement {
    sid       = "ReadStream"
    actions   = ["kinesis:ListShards", "kinesis:GetShardIterator", "kinesis:GetRecords", "kinesis:DescribeStreamSummary"]
    resources = [var.stream_arns["exchange-bets"]]
  }

  # What the exchange, asked about a bet that nobody heard of again, says of it.
  statement {
    sid       = "TellOfReconciledBets"
    actions   = ["kinesis:PutRecords"]
    resources = [var.stream_arns["exchange-bets"]]
  }

  statement {
    sid       = "PublishOrders"
    actions   = ["kinesis:PutRecords", "kinesis:DescribeStreamSummary"]
    resources = [var.stream_arns["bet-orders"]]
  }

  statement {
    sid       = "WriteProfiles"
    actions   = ["dynamodb:BatchGetItem", "dynamodb:DescribeTable", "dynamodb:PutItem"]
    resources = [var.table_arns["profiles"]]
  }

  statement {
    sid       = "WriteTokens"
    actions   = ["dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:UpdateItem"]
    resources = [var.table_arns["tokens"]]
  }

  statement {
    sid       = "TellOfBets"
    actions   = ["sns:Publish", "sns:GetTopicAttributes"]
    resources = [var.bet_status_topic_arn]
  }

  statement {
    sid       = "SendMail"
    actions   = ["ses:SendEmail", "ses:SendRawEmail"]
    resources = [var.mail_identity_arn, var.mail_configuration_set_arn]
  }

  # An address that bounced is suppressed until its owner asks for another confirmation. AWS knows no narrower resource for it.
  statement {
    sid       = "LiftSuppression"
    actions   = ["ses:DeleteSuppressedDestination"]
    resources = ["*"]
  }

  statement {
    sid       = "ReadFeedback"
    actions   = ["sqs:GetQueueUrl", "sqs:ReceiveMessage", "sqs:DeleteMessage"]
    resources = [var.mail_feedback_queue_arn]
  }

  statement {
    sid       = "ComputeLogs"
    actions   = ["s3:PutObject"]
    resources = ["${module.compute_logs.arn}/runs/*"]
  }

  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

resource "aws_iam_role_policy" "runs" {
  name   = "consume-and-notify"
  role   = aws_iam_role.runs.id
  policy = data.aws_iam_policy_document.runs.json
}
