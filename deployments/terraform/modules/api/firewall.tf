# A firewall before the load balancer: it counts requests by address, and stops whoever sends many times what a person or a page does. The application's
# own limits are narrower; this one ends a flood before it reaches a task.
resource "aws_wafv2_web_acl" "api" {
  #checkov:skip=CKV2_AWS_31:The rule's metrics and samples say what was stopped; the load balancer's log has each request
  #checkov:skip=CKV_AWS_192:No part of the application is Java, so none logs by Log4j
  count       = local.on_fargate ? 1 : 0
  name        = "${var.name}-api"
  description = "Requests by address"
  scope       = "REGIONAL"

  default_action {
    allow {}
  }

  rule {
    name     = "rate-by-address"
    priority = 1

    action {
      block {
        custom_response {
          response_code = 429
          response_header {
            name  = "Retry-After"
            value = "60"
          }
        }
      }
    }

    statement {
      rate_based_statement {
        limit                 = var.requests_of_an_address
        evaluation_window_sec = 60
        aggregate_key_type    = "IP"
      }
    }

    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "${var.name}-api-rate-by-address"
      sampled_requests_enabled   = true
    }
  }

  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = "${var.name}-api"
    sampled_requests_enabled   = true
  }
}

resource "aws_wafv2_web_acl_association" "api" {
  count        = local.on_fargate ? 1 : 0
  resource_arn = aws_lb.api[0].arn
  web_acl_arn  = aws_wafv2_web_acl.api[0].arn
}
