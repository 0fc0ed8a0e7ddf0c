variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "key_arn" {
  description = "The key that messages are encrypted with."
  type        = string
}

variable "mail_domain" {
  description = "The domain that mail comes from. Its DKIM records (an output) must be published before SES sends."
  type        = string
}
