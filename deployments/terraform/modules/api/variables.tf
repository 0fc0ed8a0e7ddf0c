variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "key_arn" {
  description = "The key that everything is encrypted with."
  type        = string
}

variable "runs_on" {
  description = "Where the API runs: `fargate`, `lambda`, or both."
  type        = list(string)
  validation {
    condition     = length(var.runs_on) > 0 && length(setsubtract(var.runs_on, ["fargate", "lambda"])) == 0
    error_message = "runs_on holds `fargate`, `lambda` or both."
  }
}

variable "vpc_id" {
  description = "The network."
  type        = string
}

variable "public_subnet_ids" {
  description = "Public subnets, for the load balancer."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Private subnets, for tasks and functions."
  type        = list(string)
}

variable "load_balancer_group_id" {
  description = "Security group of the load balancer."
  type        = string
}

variable "tasks_group_id" {
  description = "Security group of tasks and functions."
  type        = string
}

variable "cluster_name" {
  description = "The ECS cluster."
  type        = string
}

variable "cluster_arn" {
  description = "Its ARN."
  type        = string
}

variable "repository_arn" {
  description = "The repository of the API's image."
  type        = string
}

variable "requests_of_an_address" {
  description = "Requests a minute from one address that the firewall lets through: an application's servers are few addresses, and send many."
  type        = number
}

variable "image" {
  description = "The image of target `api`, by digest."
  type        = string
  validation {
    condition     = can(regex("@sha256:[0-9a-f]{64}$", var.image))
    error_message = "image is named by its digest: repository@sha256:..."
  }
}

variable "cpu" {
  description = "CPU units of a task (1024: one core)."
  type        = number
}

variable "memory" {
  description = "Memory of a task, in MiB."
  type        = number
}

variable "tasks" {
  description = "Fewest and most tasks."
  type        = object({ min = number, max = number })
}

variable "certificate_arn" {
  description = "The certificate of the API's own name, in this region."
  type        = string
}

variable "environment" {
  description = "What configures the platform: environment variables without secrets."
  type        = map(string)
}

variable "secrets" {
  description = "Environment variables that are secrets: where each is kept."
  type        = map(string)
}

variable "host_names" {
  description = "The names by which the API is called; a request under another reaches no task."
  type        = list(string)
  validation {
    condition     = length(var.host_names) > 0 && length(var.host_names) <= 5 && alltrue([for name in var.host_names : !strcontains(name, "*")])
    error_message = "host_names are one to five whole names."
  }
}

variable "stream_arns" {
  description = "The streams, by name."
  type        = map(string)
}

variable "table_arns" {
  description = "The tables, by name."
  type        = map(string)
}

variable "lake_read_policy" {
  description = "Policy of a reader of the lake."
  type        = string
}

variable "artifacts_bucket" {
  description = "Where the function's zip lies."
  type        = string
}

variable "lambda_key" {
  description = "The zip's key there."
  type        = string
}

variable "lambda_memory" {
  description = "Memory of the function, in MiB; its share of a core grows with it."
  type        = number
}

variable "lambda_concurrency" {
  description = "Most functions at once: each holds connections to the database."
  type        = number
}

variable "throttle" {
  description = "Requests a second that API Gateway lets through, and how many at once."
  type        = object({ rate = number, burst = number })
}

variable "deletion_protection" {
  description = "Refuse to delete the load balancer."
  type        = bool
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
}

variable "signing_profile_arn" {
  description = "The version of the profile that must have signed the function's zip."
  type        = string
}

variable "sign_function" {
  description = "Whether the function runs signed zips alone."
  type        = bool
}
