output "endpoints" {
  description = "Each cluster's writer."
  value = {
    for key, cluster in aws_rds_cluster.this : key => {
      host     = cluster.endpoint
      port     = cluster.port
      database = cluster.database_name
      user     = cluster.master_username
    }
  }
}

output "secret_arns" {
  description = "Where each cluster's password is kept; the secret itself is in no output."
  value       = { for key, cluster in aws_rds_cluster.this : key => cluster.master_user_secret[0].secret_arn }
}

output "cluster_identifiers" {
  description = "Each cluster's name, for alarms."
  value       = { for key, cluster in aws_rds_cluster.this : key => cluster.cluster_identifier }
}
