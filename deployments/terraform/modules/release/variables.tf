variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "environment" {
  description = "The environment's name, as GitHub knows it."
  type        = string
}

variable "suffix" {
  description = "Makes bucket names the world's only ones."
  type        = string
}

variable "key_arn" {
  description = "The key that images and artifacts are encrypted with."
  type        = string
}

variable "github_repository" {
  description = "The repository that releases, as owner/name."
  type        = string
}

variable "images_kept" {
  description = "How many images of each target are kept."
  type        = number
}

variable "apply_policy_arns" {
  description = "Policies of the role that applies."
  type        = list(string)
}

variable "apply_boundary_arn" {
  description = "Permissions boundary of the role that applies; null for none."
  type        = string
}

variable "deletion_protection" {
  description = "Refuse to delete repositories and the bucket while they hold anything."
  type        = bool
}

variable "sign_function" {
  description = "Whether the function's zip is signed, and the function runs nothing else."
  type        = bool
}
