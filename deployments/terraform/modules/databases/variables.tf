variable "name" {
  description = "Prefix of every name: the platform and its environment."
  type        = string
}

variable "key_arn" {
  description = "The key that storage and passwords are encrypted with."
  type        = string
}

variable "subnet_ids" {
  description = "Isolated subnets, in at least two zones."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Of `mysql` and `postgresql`: each lets the tasks in that work with it, and nobody else."
  type        = map(string)
}

variable "instances" {
  description = "Instances of each cluster; the second is the one that takes over."
  type        = number
}

variable "capacity" {
  description = "Least and most capacity of an instance, in Aurora capacity units (2 GiB of memory each)."
  type        = object({ min = number, max = number })
}

variable "backup_days" {
  description = "For how many days each cluster can be restored to any second."
  type        = number
}

variable "deletion_protection" {
  description = "Refuse to delete the clusters, and take a last snapshot of one that is deleted after all."
  type        = bool
}

variable "mysql_version" {
  description = "Aurora MySQL's version."
  type        = string
}

variable "postgresql_version" {
  description = "Aurora PostgreSQL's version."
  type        = string
}
