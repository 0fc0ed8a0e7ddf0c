variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "cidr" {
  description = "The network's addresses, a /16."
  type        = string
}

variable "zones" {
  description = "In how many availability zones it lies, 2 or 3."
  type        = number
  validation {
    condition     = var.zones >= 2 && var.zones <= 3
    error_message = "zones must be 2 or 3: databases need two, and more than three only cost."
  }
}

variable "nat_per_zone" {
  description = "A NAT gateway in each zone (survives the loss of a zone), or one for all (cheaper)."
  type        = bool
}

variable "allowed_cidrs" {
  description = "From where the load balancer may be reached."
  type        = list(string)
}

variable "operators_cidrs" {
  description = "From where operators reach the Dagster UI."
  type        = list(string)
}

variable "interface_endpoints" {
  description = "AWS services reached inside the network. Each costs by the hour and zone."
  type        = list(string)
}

variable "log_retention_days" {
  description = "How long flow logs are kept."
  type        = number
}

variable "key_arn" {
  description = "The key that logs are encrypted with."
  type        = string
}

variable "outside_ports" {
  description = "TCP ports other than 443 on which Elasticsearch and the exchange are reached."
  type        = list(string)
  default     = []
}
