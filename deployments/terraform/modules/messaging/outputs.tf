output "bet_status_topic_arn" {
  description = "The topic of every change of a bet."
  value       = aws_sns_topic.bet_status.arn
}

output "mail_feedback_queue_arn" {
  description = "The queue of bounces and complaints."
  value       = aws_sqs_queue.mail_feedback.arn
}

output "mail_feedback_queue_url" {
  description = "The same, as its readers name it."
  value       = aws_sqs_queue.mail_feedback.id
}

output "mail_feedback_topic_arn" {
  description = "The only topic whose messages in that queue are believed."
  value       = aws_sns_topic.mail_feedback.arn
}

output "mail_feedback_dead_queue_name" {
  description = "Feedback that nobody could read."
  value       = aws_sqs_queue.mail_feedback_dead.name
}

output "mail_identity_arn" {
  description = "The identity that mail comes from."
  value       = aws_sesv2_email_identity.this.arn
}

output "mail_configuration_set" {
  description = "The configuration set that mail is sent with."
  value       = aws_sesv2_configuration_set.this.configuration_set_name
}

output "mail_configuration_set_arn" {
  description = "Its ARN."
  value       = aws_sesv2_configuration_set.this.arn
}

output "dkim_tokens" {
  description = "Publish for each a CNAME <token>._domainkey.<domain> to <token>.dkim.amazonses.com."
  value       = try(aws_sesv2_email_identity.this.dkim_signing_attributes[0].tokens, [])
}
