variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "suffix" {
  description = "Makes the bucket's name the world's only one."
  type        = string
}

variable "key_arn" {
  description = "The key that files are encrypted with."
  type        = string
}

variable "old_version_days" {
  description = "How long a dropped file can be brought back."
  type        = number
}

variable "deletion_protection" {
  description = "Refuse to delete the bucket while it holds files."
  type        = bool
}
