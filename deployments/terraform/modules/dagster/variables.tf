variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "suffix" {
  description = "Makes bucket names the world's only ones."
  type        = string
}

variable "key_arn" {
  description = "The key that everything is encrypted with."
  type        = string
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets."
  type        = list(string)
}

variable "group_ids" {
  description = "Security group of each kind of task."
  type        = map(string)
}

variable "image" {
  description = "The image of target `dagster`, by digest."
  type        = string
  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image is named by its digest: repository@sha256:..."
  }
}

variable "repository_arn" {
  description = "From where the image may be pulled."
  type        = string
}

variable "environment" {
  description = "What configures each kind of task: environment variables without secrets."
  type        = map(map(string))
}

variable "secrets" {
  description = "Environment variables of each kind of task that are secrets: where each is kept."
  type        = map(map(string))
}

variable "stream_arns" {
  description = "The streams, by name."
  type        = map(string)
}

variable "table_arns" {
  description = "The tables, by name."
  type        = map(string)
}

variable "bet_status_topic_arn" {
  description = "The topic of every change of a bet."
  type        = string
}

variable "mail_identity_arn" {
  description = "The identity that mail comes from."
  type        = string
}

variable "mail_configuration_set_arn" {
  description = "The configuration set that mail is sent with."
  type        = string
}

variable "mail_feedback_queue_arn" {
  description = "The queue of bounces and complaints."
  type        = string
}

variable "lake_read_policy" {
  description = "Policy of a reader of the lake."
  type        = string
}

variable "lake_write_policy" {
  description = "Policy of a writer of the lake."
  type        = string
}

variable "run_cpu" {
  description = "CPU units of a run's task (1024: one core)."
  type        = number
}

variable "run_memory" {
  description = "Memory of a run's task, in MiB."
  type        = number
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "metric_namespace" {
  description = "Namespace of the platform's own figures in CloudWatch."
  type        = string
}
