variable "bucket" {
  description = "The bucket's name, the world's only one."
  type        = string
}

variable "key_arn" {
  description = "The key that files are encrypted with."
  type        = string
}

variable "expire_days" {
  description = "Delete files after so many days; 0 keeps them."
  type        = number
  default     = 0
}

variable "old_version_days" {
  description = "How long a replaced or deleted file can be brought back."
  type        = number
  default     = 30
}

variable "deletion_protection" {
  description = "Refuse to delete the bucket while it holds files."
  type        = bool
}
