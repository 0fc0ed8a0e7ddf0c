# The operational database (Aurora MySQL), and PostgreSQL for the lake's catalog and Dagster's own storage.
# Their passwords are drawn, kept and rotated by RDS in Secrets Manager: they are in no state and in no output.
locals {
  clusters = {
    operational = {
      engine  = "aurora-mysql"
      version = var.mysql_version
      port    = 3306
      name    = "exchange"
      group   = "mysql"
      family  = "aurora-mysql8.0"
      parameters = {
        require_secure_transport = "ON"
        binlog_format            = "OFF"
        server_audit_logging     = "1"
        server_audit_events      = "CONNECT,QUERY_DCL,QUERY_DDL"
      }
      logs = ["audit", "error", "slowquery"]
    }
    catalog = {
      engine  = "aurora-postgresql"
      version = var.postgresql_version
      port    = 5432
      name    = "lake"
      group   = "postgresql"
      family  = "aurora-postgresql16"
      parameters = {
        "rds.force_ssl"            = "1"
        log_statement              = "ddl"
        log_min_duration_statement = "1000"
      }
      logs = ["postgresql"]
    }
  }
}

resource "aws_db_subnet_group" "this" {
  name       = var.name
  subnet_ids = var.subnet_ids
}

resource "aws_rds_cluster_parameter_group" "this" {
  for_each    = local.clusters
  name        = "${var.name}-${each.key}"
  family      = each.value.family
  description = "TLS only"

  dynamic "parameter" {
    for_each = each.value.parameters
    content {
      name         = parameter.key
      value        = parameter.value
      apply_method = "pending-reboot"
    }
  }
}

resource "aws_rds_cluster" "this" {
  #checkov:skip=CKV_AWS_326:Turned back in place, the database would not agree with the lake and the stream; it is restored beside itself instead
  #checkov:skip=CKV2_AWS_27:The parameter group logs changes of the schema and slow statements, in blocks that checkov does not resolve
  #checkov:skip=CKV2_AWS_8:Aurora's own backups restore to any second of backup_days
  for_each                            = local.clusters
  cluster_identifier                  = "${var.name}-${each.key}"
  engine                              = each.value.engine
  engine_version                      = each.value.version
  database_name                       = each.value.name
  master_username                     = "exchange"
  manage_master_user_password         = true
  master_user_secret_kms_key_id       = var.key_arn
  port                                = each.value.port
  db_subnet_group_name                = aws_db_subnet_group.this.name
  db_cluster_parameter_group_name     = aws_rds_cluster_parameter_group.this[each.key].name
  vpc_security_group_ids              = [var.security_group_ids[each.value.group]]
  storage_encrypted                   = true
  kms_key_id                          = var.key_arn
  iam_database_authentication_enabled = true
  backup_retention_period             = var.backup_days
  preferred_backup_window             = "02:00-03:00"
  preferred_maintenance_window        = "tue:03:30-tue:04:30"
  copy_tags_to_snapshot               = true
  deletion_protection                 = var.deletion_protection
  skip_final_snapshot                 = !var.deletion_protection
  final_snapshot_identifier           = var.deletion_protection ? "${var.name}-${each.key}-final" : null
  enabled_cloudwatch_logs_exports     = each.value.logs

  serverlessv2_scaling_configuration {
    min_capacity = var.capacity.min
    max_capacity = var.capacity.max
  }
}

resource "aws_rds_cluster_instance" "this" {
  for_each = {
    for pair in setproduct(keys(local.clusters), range(var.instances)) : "${pair[0]}-${pair[1]}" => pair[0]
  }
  identifier                      = "${var.name}-${each.key}"
  cluster_identifier              = aws_rds_cluster.this[each.value].id
  engine                          = aws_rds_cluster.this[each.value].engine
  engine_version                  = aws_rds_cluster.this[each.value].engine_version
  instance_class                  = "db.serverless"
  auto_minor_version_upgrade      = true
  performance_insights_enabled    = true
  performance_insights_kms_key_id = var.key_arn
  monitoring_interval             = 60
  monitoring_role_arn             = aws_iam_role.monitoring.arn
}

data "aws_iam_policy_document" "monitoring_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["monitoring.rds.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "monitoring" {
  name               = "${var.name}-database-monitoring"
  assume_role_policy = data.aws_iam_policy_document.monitoring_assume.json
}

resource "aws_iam_role_policy_attachment" "monitoring" {
  role       = aws_iam_role.monitoring.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole"
}
