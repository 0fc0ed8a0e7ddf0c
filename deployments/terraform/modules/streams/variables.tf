variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "key_arn" {
  description = "The key that records are encrypted with."
  type        = string
}

variable "streams" {
  description = "Each stream's shards (0: on demand) and how many hours records are kept (24 to 8760): what can be replayed."
  type = map(object({
    shards          = number
    retention_hours = number
  }))
}
