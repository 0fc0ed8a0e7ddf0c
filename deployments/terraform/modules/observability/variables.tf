variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "key_arn" {
  description = "The key that alarms are encrypted with."
  type        = string
}

variable "alarm_emails" {
  description = "Who is told of alarms."
  type        = list(string)
}

variable "metric_namespace" {
  description = "Namespace of the platform's own figures."
  type        = string
}

variable "sources" {
  description = "Sources that have a consumer."
  type        = list(string)
}

variable "stream_names" {
  description = "The streams, by key."
  type        = map(string)
}

variable "cluster_identifiers" {
  description = "The database clusters, by key."
  type        = map(string)
}

variable "feedback_dead_queue_name" {
  description = "The queue of feedback that nobody could read."
  type        = string
}

variable "load_balancer_suffix" {
  description = "The API's load balancer, as its metrics name it; empty without one."
  type        = string
}

variable "gateway_id" {
  description = "The API's gateway, as its metrics name it; empty without one."
  type        = string
}

variable "api_runs_on" {
  description = "Where the API runs: `fargate`, `lambda`, or both."
  type        = list(string)
}
