# Everything in which two environments may differ. environments/*.tfvars give the values.
variable "environment" {
  description = "The environment: `staging` or `production`."
  type        = string
  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,14}$", var.environment))
    error_message = "environment is a short lower-case word, such as staging."
  }
}

variable "region" {
  description = "The AWS region."
  type        = string
  default     = "eu-west-1"
}

variable "release" {
  description = "The version that runs: name of the function's zip."
  type        = string
  validation {
    condition     = can(regex("^[0-9]+\\.[0-9]+\\.[0-9]+[0-9A-Za-z.+-]*$", var.release))
    error_message = "release is a version, such as 1.2.3."
  }
}

variable "image_digests" {
  description = "What runs, by content: the digests of the release's images, as its build recorded them (images.auto.tfvars.json)."
  type        = object({ dagster = string, api = string })
  validation {
    condition     = alltrue([for digest in values(var.image_digests) : can(regex("^sha256:[0-9a-f]{64}$", digest))])
    error_message = "image_digests are digests, sha256: and 64 hexadecimal digits: a tag can come to name another image."
  }
}

variable "deletion_protection" {
  description = "Refuse to delete what holds data."
  type        = bool
  default     = true
}

variable "cidr" {
  description = "The network's addresses, a /16."
  type        = string
  default     = "10.40.0.0/16"
  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "cidr is a /16, such as 10.40.0.0/16."
  }
}

variable "zones" {
  description = "In how many availability zones everything lies, 2 or 3."
  type        = number
  default     = 2
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone (survives the loss of a zone), or one for all (cheaper)."
  type        = bool
  default     = false
}

variable "allowed_cidrs" {
  description = "From where the API may be reached."
  type        = list(string)
  default     = ["0.0.0.0/0"]
}

variable "operators_cidrs" {
  description = "From where inside the network, or what is joined to it, operators reach the Dagster UI. It asks for no password."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for cidr in var.operators_cidrs : can(regex("^(10|192\\.168|172\\.(1[6-9]|2[0-9]|3[01]))\\.", cidr))])
    error_message = "operators_cidrs are private addresses: whoever reaches the Dagster UI may end and delete runs."
  }
}

variable "dagster_ui_names" {
  description = "Names by which operators call the Dagster UI; it refuses all others but localhost."
  type        = list(string)
  default     = []
}

variable "api_names" {
  description = "Names by which the API is called besides public_url's. The load balancer answers to no others."
  type        = list(string)
  default     = []
}

variable "interface_endpoints" {
  description = "AWS services reached inside the network. Each costs by the hour and zone."
  type        = list(string)
  default     = ["kinesis-streams", "secretsmanager", "sns", "sqs", "logs", "monitoring", "ecr.api", "ecr.dkr", "ecs"]
}

variable "streams" {
  description = "Each stream's shards (0: on demand) and how many hours records are kept: what can be replayed."
  type        = map(object({ shards = number, retention_hours = number }))
  default = {
    exchange-bets = { shards = 0, retention_hours = 168 }
    bet-orders    = { shards = 0, retention_hours = 168 }
  }
}

variable "mail_domain" {
  description = "The domain that mail comes from."
  type        = string
}

variable "mail_from" {
  description = "The mailbox that mail comes from."
  type        = string
  default     = "bets"
}

variable "mail_from_name" {
  description = "The name that mail comes from."
  type        = string
  default     = "Exchange"
}

variable "public_url" {
  description = "The API's address as users reach it."
  type        = string
  validation {
    condition     = startswith(var.public_url, "https://")
    error_message = "public_url begins with https://."
  }
}

variable "exchange_url" {
  description = "Where the exchange answers over HTTPS: its event feed, and bets by their ids. Its answers settle bets."
  type        = string
  validation {
    condition     = startswith(var.exchange_url, "https://")
    error_message = "exchange_url begins with https://."
  }
}

variable "elasticsearch_url" {
  description = "Elasticsearch of the event index (Elastic Cloud or self-run; not Amazon OpenSearch, which its client refuses)."
  type        = string
  validation {
    condition     = startswith(var.elasticsearch_url, "https://")
    error_message = "elasticsearch_url begins with https://."
  }
}

variable "certificate_arn" {
  description = "The certificate of the API's own name, in this region."
  type        = string
}

variable "database_instances" {
  description = "Instances of each database cluster; the second is the one that takes over."
  type        = number
  default     = 2
}

variable "database_capacity" {
  description = "Least and most capacity of an instance, in Aurora capacity units."
  type        = object({ min = number, max = number })
  default     = { min = 0.5, max = 8 }
}

variable "mysql_version" {
  description = "Aurora MySQL's version."
  type        = string
  default     = "8.0.mysql_aurora.3.08.2"
}

variable "postgresql_version" {
  description = "Aurora PostgreSQL's version."
  type        = string
  default     = "16.8"
}

variable "backup_days" {
  description = "For how many days databases can be restored to any second, and dropped files of the lake brought back."
  type        = number
  default     = 14
}

variable "run_size" {
  description = "CPU units and MiB of memory of a run's task."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 1024, memory = 2048 }
}

variable "bets_consumers" {
  description = "How many consumer runs share the shards of exchange-bets; no more than there are shards."
  type        = number
  default     = 1
}

variable "api_runs_on" {
  description = "Where the API runs: `fargate`, `lambda`, or both (docs/deployment.md)."
  type        = list(string)
  default     = ["fargate"]
}

variable "api_size" {
  description = "CPU units and MiB of memory of an API task."
  type        = object({ cpu = number, memory = number })
  default     = { cpu = 512, memory = 1024 }
}

variable "api_tasks" {
  description = "Fewest and most API tasks."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 10 }
}

variable "requests_of_an_address" {
  description = "Requests a minute from one address that the firewall before the load balancer lets through. An application's servers are few addresses and send many."
  type        = number
  default     = 60000
}

variable "api_throttle" {
  description = "Requests a second that API Gateway lets through, and how many at once."
  type        = object({ rate = number, burst = number })
  default     = { rate = 500, burst = 1000 }
}

variable "lambda_memory" {
  description = "Memory of the function, in MiB."
  type        = number
  default     = 1024
}

variable "lambda_concurrency" {
  description = "Most functions at once: each holds connections to the database."
  type        = number
  default     = 50
}

variable "metric_namespace" {
  description = "Namespace of the platform's own figures in CloudWatch."
  type        = string
  default     = "ExchangePlatform"
}

variable "alarm_emails" {
  description = "Who is told of alarms."
  type        = list(string)
  default     = []
}

variable "log_retention_days" {
  description = "How long logs are kept."
  type        = number
  default     = 365
}

variable "github_repository" {
  description = "The repository that releases, as owner/name."
  type        = string
}

variable "images_kept" {
  description = "How many images of each target are kept."
  type        = number
  default     = 20
}

variable "apply_policy_arns" {
  description = "Policies of the role that applies."
  type        = list(string)
  default     = ["arn:aws:iam::aws:policy/PowerUserAccess", "arn:aws:iam::aws:policy/IAMFullAccess"]
}

variable "apply_boundary_arn" {
  description = "Permissions boundary of the role that applies; null for none."
  type        = string
  default     = null
}

variable "sign_function" {
  description = "Whether the function's zip is signed by AWS Signer, and the function runs nothing that it did not sign."
  type        = bool
  default     = true
}
