# The topic of every change of a bet; the mail identity; and what comes back of mail: bounces and complaints.
data "aws_caller_identity" "current" {}

resource "aws_sns_topic" "bet_status" {
  name              = "${var.name}-bet-status"
  kms_master_key_id = var.key_arn
}

resource "aws_sns_topic" "mail_feedback" {
  name              = "${var.name}-mail-feedback"
  kms_master_key_id = var.key_arn
}

# Only over TLS, and only by this account.
data "aws_iam_policy_document" "topic" {
  for_each = {
    bet_status    = aws_sns_topic.bet_status.arn
    mail_feedback = aws_sns_topic.mail_feedback.arn
  }

  statement {
    sid       = "ThisAccount"
    actions   = ["sns:Publish", "sns:Subscribe", "sns:GetTopicAttributes"]
    resources = [each.value]
    principals {
      type        = "AWS"
      identifiers = [data.aws_caller_identity.current.account_id]
    }
  }

  statement {
    sid       = "OnlyOverTLS"
    effect    = "Deny"
    actions   = ["sns:Publish"]
    resources = [each.value]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = each.key == "mail_feedback" ? [1] : []
    content {
      sid       = "MailService"
      actions   = ["sns:Publish"]
      resources = [each.value]
      principals {
        type        = "Service"
        identifiers = ["ses.amazonaws.com"]
      }
      condition {
        test     = "StringEquals"
        variable = "aws:SourceAccount"
        values   = [data.aws_caller_identity.current.account_id]
      }
    }
  }
}

resource "aws_sns_topic_policy" "bet_status" {
  arn    = aws_sns_topic.bet_status.arn
  policy = data.aws_iam_policy_document.topic["bet_status"].json
}

resource "aws_sns_topic_policy" "mail_feedback" {
  arn    = aws_sns_topic.mail_feedback.arn
  policy = data.aws_iam_policy_document.topic["mail_feedback"].json
}

# The platform polls this queue: it needs no address that is open to the world.
resource "aws_sqs_queue" "mail_feedback_dead" {
  name                      = "${var.name}-mail-feedback-dead"
  message_retention_seconds = 1209600
  kms_master_key_id         = var.key_arn
}

resource "aws_sqs_queue" "mail_feedback" {
  name                       = "${var.name}-mail-feedback"
  message_retention_seconds  = 1209600
  visibility_timeout_seconds = 60
  kms_master_key_id          = var.key_arn
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.mail_feedback_dead.arn
    maxReceiveCount     = 5
  })
}

data "aws_iam_policy_document" "queue" {
  statement {
    sid       = "FromTheTopic"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.mail_feedback.arn]
    principals {
      type        = "Service"
      identifiers = ["sns.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_sns_topic.mail_feedback.arn]
    }
  }
}

resource "aws_sqs_queue_policy" "mail_feedback" {
  queue_url = aws_sqs_queue.mail_feedback.id
  policy    = data.aws_iam_policy_document.queue.json
}

resource "aws_sns_topic_subscription" "mail_feedback" {
  topic_arn = aws_sns_topic.mail_feedback.arn
  protocol  = "sqs"
  endpoint  = aws_sqs_queue.mail_feedback.arn
}

resource "aws_sesv2_configuration_set" "this" {
  configuration_set_name = var.name

  delivery_options {
    tls_policy = "REQUIRE"
  }

  reputation_options {
    reputation_metrics_enabled = true
  }

  suppression_options {
    suppressed_reasons = ["BOUNCE", "COMPLAINT"]
  }
}

resource "aws_sesv2_configuration_set_event_destination" "feedback" {
  configuration_set_name = aws_sesv2_configuration_set.this.configuration_set_name
  event_destination_name = "feedback"

  event_destination {
    enabled              = true
    matching_event_types = ["BOUNCE", "COMPLAINT"]
    sns_destination {
      topic_arn = aws_sns_topic.mail_feedback.arn
    }
  }

  depends_on = [aws_sns_topic_policy.mail_feedback]
}

resource "aws_sesv2_email_identity" "this" {
  email_identity         = var.mail_domain
  configuration_set_name = aws_sesv2_configuration_set.this.configuration_set_name

  dkim_signing_attributes {
    next_signing_key_length = "RSA_2048_BIT"
  }
}
