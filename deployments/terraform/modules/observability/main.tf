# What wakes somebody up, and what they look at. The platform's own figures come each minute from `cloud_metrics_sensor`, so their
# absence is an alarm too: then Dagster itself does not run.
data "aws_region" "current" {}

locals {
  own = {
    consumer_heartbeat = {
      metric    = "HeartbeatAge"
      statistic = "Maximum"
      above     = 60
      rounds    = 2
      sources   = var.sources
      what      = "No consumer of this source has said that it lives for a minute"
    }
    lag = {
      metric    = "Lag"
      statistic = "Maximum"
      above     = 10000
      rounds    = 3
      sources   = var.sources
      what      = "The consumer of this source is more than 10 s behind"
    }
    dead_letters = {
      metric    = "DeadLetters"
      statistic = "Maximum"
      above     = 0
      rounds    = 1
      sources   = var.sources
      what      = "Records were refused in the last ten minutes"
    }
  }
  by_source = merge([
    for key, alarm in local.own : {
      for source in alarm.sources : "${key}-${source}" => merge(alarm, { source = source })
    }
  ]...)
  plain = {
    mail_waiting  = { metric = "OldestMailWaiting", above = 60, what = "A mail has waited for more than a minute" }
    stuck_orders  = { metric = "StuckOrders", above = 0, what = "Orders are committed but not published, or not answered" }
    failed_checks = { metric = "FailedChecks", above = 0, what = "An asset check has failed or was not evaluated for ten minutes: money, bets, lake, windows or index do not agree" }
    failed_runs   = { metric = "FailedRuns", above = 0, what = "A run of Dagster has failed in the last ten minutes" }
  }
}

resource "aws_sns_topic" "alarms" {
  name              = "${var.name}-alarms"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic_subscription" "operators" {
  for_each  = toset(var.alarm_emails)
  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = each.value
}

resource "aws_cloudwatch_metric_alarm" "by_source" {
  for_each            = local.by_source
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.what}. docs/operations.md tells what to do."
  namespace           = var.metric_namespace
  metric_name         = each.value.metric
  dimensions          = { Environment = var.name, Source = each.value.source }
  statistic           = each.value.statistic
  period              = 60
  evaluation_periods  = each.value.rounds
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "plain" {
  for_each            = local.plain
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.what}. docs/operations.md tells what to do."
  namespace           = var.metric_namespace
  metric_name         = each.value.metric
  dimensions          = { Environment = var.name }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "iterator_age" {
  for_each            = var.stream_names
  alarm_name          = "${var.name}-iterator-age-${each.key}"
  alarm_description   = "The oldest unread record of the stream is over a minute old."
  namespace           = "AWS/Kinesis"
  metric_name         = "GetRecords.IteratorAgeMilliseconds"
  dimensions          = { StreamName = each.value }
  statistic           = "Maximum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 60000
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A provisioned stream that is full wants more shards (docs/operations.md); one on demand grows by itself and should never say so.
resource "aws_cloudwatch_metric_alarm" "stream_full" {
  for_each            = var.stream_names
  alarm_name          = "${var.name}-stream-full-${each.key}"
  alarm_description   = "Puts to the stream are refused: split shards."
  namespace           = "AWS/Kinesis"
  metric_name         = "WriteProvisionedThroughputExceeded"
  dimensions          = { StreamName = each.value }
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 3
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

# SES pauses an account whose bounces reach 10 % or complaints 0.5 %: be awake long before.
resource "aws_cloudwatch_metric_alarm" "mail_reputation" {
  for_each            = { BounceRate = 0.03, ComplaintRate = 0.001 }
  alarm_name          = "${var.name}-mail-${lower(each.key)}"
  alarm_description   = "Mail is bounced or complained about: SES pauses accounts for it."
  namespace           = "AWS/SES"
  metric_name         = "Reputation.${each.key}"
  statistic           = "Average"
  period              = 900
  evaluation_periods  = 1
  threshold           = each.value
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "ignore"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "feedback_dead" {
  alarm_name          = "${var.name}-mail-feedback-dead"
  alarm_description   = "Feedback of mail that nobody could read."
  namespace           = "AWS/SQS"
  metric_name         = "ApproximateNumberOfMessagesVisible"
  dimensions          = { QueueName = var.feedback_dead_queue_name }
  statistic           = "Maximum"
  period              = 300
  evaluation_periods  = 1
  threshold           = 0
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "api_errors" {
  for_each = { for place, metric in {
    fargate = { namespace = "AWS/ApplicationELB", metric = "HTTPCode_Target_5XX_Count", dimensions = { LoadBalancer = var.load_balancer_suffix } }
    lambda  = { namespace = "AWS/ApiGateway", metric = "5xx", dimensions = { ApiId = var.gateway_id } }
  } : place => metric if contains(var.api_runs_on, place) }
  alarm_name          = "${var.name}-api-5xx-${each.key}"
  alarm_description   = "The API answers with errors of its own."
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = "Sum"
  period              = 60
  evaluation_periods  = 2
  threshold           = 5
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

resource "aws_cloudwatch_metric_alarm" "database_capacity" {
  for_each            = var.cluster_identifiers
  alarm_name          = "${var.name}-database-${each.key}"
  alarm_description   = "The cluster uses nearly all the capacity that it may grow to."
  namespace           = "AWS/RDS"
  metric_name         = "ACUUtilization"
  dimensions          = { DBClusterIdentifier = each.value }
  statistic           = "Average"
  period              = 300
  evaluation_periods  = 3
  threshold           = 90
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  region = data.aws_region.current.name
  rows = [
    {
      title   = "Lag from the stream to the stores (ms)"
      metrics = [for source in var.sources : [var.metric_namespace, "Lag", "Environment", var.name, "Source", source]]
    },
    {
      title   = "Records a second"
      metrics = [for source in var.sources : [var.metric_namespace, "Rate", "Environment", var.name, "Source", source]]
    },
    {
      title   = "Age of the last heartbeat (s)"
      metrics = [for source in var.sources : [var.metric_namespace, "HeartbeatAge", "Environment", var.name, "Source", source]]
    },
    {
      title = "Dead letters, failed checks, stuck orders"
      metrics = concat(
        [for source in var.sources : [var.metric_namespace, "DeadLetters", "Environment", var.name, "Source", source]],
        [for metric in ["FailedChecks", "StuckOrders", "OldestMailWaiting"] : [var.metric_namespace, metric, "Environment", var.name]],
      )
    },
    {
      title   = "Streams: bytes in"
      metrics = [for name in values(var.stream_names) : ["AWS/Kinesis", "IncomingBytes", "StreamName", name, { stat = "Sum" }]]
    },
    {
      title   = "Streams: age of the oldest unread record (ms)"
      metrics = [for name in values(var.stream_names) : ["AWS/Kinesis", "GetRecords.IteratorAgeMilliseconds", "StreamName", name, { stat = "Maximum" }]]
    },
    {
      title   = "Databases: share of capacity (%)"
      metrics = [for cluster in values(var.cluster_identifiers) : ["AWS/RDS", "ACUUtilization", "DBClusterIdentifier", cluster]]
    },
    {
      title   = "Mail: sent, bounced, complained about"
      metrics = [for metric in ["Send", "Bounce", "Complaint"] : ["AWS/SES", metric, { stat = "Sum" }]]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for index, row in local.rows : {
        type   = "metric"
        x      = (index % 2) * 12
        y      = floor(index / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = row.title
          region  = local.region
          view    = "timeSeries"
          period  = 60
          stat    = "Maximum"
          metrics = row.metrics
        }
      }
    ]
  })
}
