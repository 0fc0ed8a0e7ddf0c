variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}
