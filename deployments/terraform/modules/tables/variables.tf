variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "key_arn" {
  description = "The key that items are encrypted with."
  type        = string
}

variable "deletion_protection" {
  description = "Refuse to delete the tables."
  type        = bool
}
