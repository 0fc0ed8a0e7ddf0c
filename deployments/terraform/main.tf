# The whole platform in one environment. Staging and production are this same composition with other variables (environments/).
data "aws_caller_identity" "current" {}

locals {
  name   = "exchange-${var.environment}"
  suffix = data.aws_caller_identity.current.account_id

  # What the application reads. Everything here may be shown; secrets are beside it, by where they are kept.
  environment_variables = {
    EXCHANGE_PLATFORM_AWS_REGION            = var.region
    EXCHANGE_PLATFORM_BETS_STREAM           = module.streams.names["exchange-bets"]
    EXCHANGE_PLATFORM_ORDERS_STREAM         = module.streams.names["bet-orders"]
    EXCHANGE_PLATFORM_PROFILES_TABLE        = module.tables.names.profiles
    EXCHANGE_PLATFORM_TOKENS_TABLE          = module.tables.names.tokens
    EXCHANGE_PLATFORM_STATUS_TOPIC          = module.messaging.bet_status_topic_arn
    EXCHANGE_PLATFORM_MAIL_FEEDBACK_QUEUE   = module.messaging.mail_feedback_queue_url
    EXCHANGE_PLATFORM_MAIL_FEEDBACK_TOPIC   = module.messaging.mail_feedback_topic_arn
    EXCHANGE_PLATFORM_MAIL_SENDER           = "ses"
    EXCHANGE_PLATFORM_MAIL_FROM             = "${var.mail_from_name} <${var.mail_from}@${var.mail_domain}>"
    EXCHANGE_PLATFORM_SES_CONFIGURATION_SET = module.messaging.mail_configuration_set
    EXCHANGE_PLATFORM_PUBLIC_URL            = var.public_url
    EXCHANGE_PLATFORM_EXCHANGE_URL          = var.exchange_url
    EXCHANGE_PLATFORM_ELASTICSEARCH_URL     = var.elasticsearch_url
    EXCHANGE_PLATFORM_DATABASE_URL          = "mysql+pymysql://${local.mysql.user}@${local.mysql.host}:${local.mysql.port}/${local.mysql.database}"
    EXCHANGE_PLATFORM_DATABASE_TLS          = "required"
    EXCHANGE_PLATFORM_LAKE_CATALOG          = "postgres:host=${local.postgresql.host} port=${local.postgresql.port} dbname=${local.postgresql.database} user=${local.postgresql.user} sslmode=require"
    EXCHANGE_PLATFORM_LAKE_DATA_PATH        = module.lake.data_path
    EXCHANGE_PLATFORM_DAGSTER_HOST          = local.postgresql.host
    EXCHANGE_PLATFORM_DAGSTER_PORT          = tostring(local.postgresql.port)
    EXCHANGE_PLATFORM_DAGSTER_USER          = local.postgresql.user
    EXCHANGE_PLATFORM_DAGSTER_DATABASE      = "dagster"
    EXCHANGE_PLATFORM_COMPUTE_LOGS_BUCKET   = "${local.name}-compute-logs-${local.suffix}"
    EXCHANGE_PLATFORM_METRICS_NAMESPACE     = var.metric_namespace
    EXCHANGE_PLATFORM_ENVIRONMENT           = local.name
    EXCHANGE_PLATFORM_BETS_CONSUMERS        = tostring(var.bets_consumers)
    EXCHANGE_PLATFORM_RUN_START_S           = "120"
    EXCHANGE_PLATFORM_HAND_OVER_LEAD_S      = "120"
    AWS_DEFAULT_REGION                      = var.region
    PGSSLMODE                               = "require"
    DAGSTER_HOME                            = "/opt/dagster"
  }

  # RDS keeps a user's password as JSON: `:password::` picks it out.
  secret_variables = {
    EXCHANGE_PLATFORM_DATABASE_PASSWORD     = "${module.databases.secret_arns["operational"]}:password::"
    EXCHANGE_PLATFORM_LAKE_CATALOG_PASSWORD = "${module.databases.secret_arns["catalog"]}:password::"
    EXCHANGE_PLATFORM_DAGSTER_PASSWORD      = "${module.databases.secret_arns["catalog"]}:password::"
    EXCHANGE_PLATFORM_API_TOKENS            = aws_secretsmanager_secret.this["api-tokens"].arn
    EXCHANGE_PLATFORM_MAIL_KEY              = aws_secretsmanager_secret.this["mail-key"].arn
    EXCHANGE_PLATFORM_ELASTICSEARCH_API_KEY = aws_secretsmanager_secret.this["elasticsearch-api-key"].arn
  }

  secret_arns = concat(values(module.databases.secret_arns), [for secret in aws_secretsmanager_secret.this : secret.arn])
  mysql       = module.databases.endpoints["operational"]
  postgresql  = module.databases.endpoints["catalog"]
}

module "encryption" {
  source = "./modules/encryption"
  name   = local.name
}

# Their values are put in by hand or by a rotation, never by Terraform: so they are in no state (docs/deployment.md).
resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:Who gives out a token or key changes it, and applications with it; docs/operations.md says how
  for_each = {
    api-tokens            = "Bearer tokens of the applications that call the API, separated by commas"
    mail-key              = "Key that signs the links in mails, 32 characters at least"
    elasticsearch-api-key = "API key of the event index"
  }
  name                    = "${local.name}/${each.key}"
  description             = each.value
  kms_key_id              = module.encryption.key_arn
  recovery_window_in_days = var.deletion_protection ? 30 : 0
}

module "network" {
  source              = "./modules/network"
  name                = local.name
  cidr                = var.cidr
  zones               = var.zones
  nat_per_zone        = var.nat_per_zone
  allowed_cidrs       = var.allowed_cidrs
  interface_endpoints = var.interface_endpoints
  outside_ports       = flatten([for url in [var.elasticsearch_url, var.exchange_url] : regexall("^https://[^/]+:([0-9]+)", url)])
  log_retention_days  = var.log_retention_days
  key_arn             = module.encryption.key_arn
}

module "streams" {
  source  = "./modules/streams"
  name    = local.name
  key_arn = module.encryption.key_arn
  streams = var.streams
}

module "tables" {
  source              = "./modules/tables"
  name                = local.name
  key_arn             = module.encryption.key_arn
  deletion_protection = var.deletion_protection
}

module "messaging" {
  source      = "./modules/messaging"
  name        = local.name
  key_arn     = module.encryption.key_arn
  mail_domain = var.mail_domain
}

module "databases" {
  source              = "./modules/databases"
  name                = local.name
  key_arn             = module.encryption.key_arn
  subnet_ids          = module.network.isolated_subnet_ids
  security_group_id   = module.network.databases_group_id
  instances           = var.database_instances
  capacity            = var.database_capacity
  backup_days         = var.backup_days
  deletion_protection = var.deletion_protection
  mysql_version       = var.mysql_version
  postgresql_version  = var.postgresql_version
}

module "lake" {
  source              = "./modules/lake"
  name                = local.name
  suffix              = local.suffix
  key_arn             = module.encryption.key_arn
  old_version_days    = var.backup_days
  deletion_protection = var.deletion_protection
}

module "release" {
  source              = "./modules/release"
  name                = local.name
  environment         = var.environment
  suffix              = local.suffix
  key_arn             = module.encryption.key_arn
  github_repository   = var.github_repository
  images_kept         = var.images_kept
  apply_policy_arns   = var.apply_policy_arns
  apply_boundary_arn  = var.apply_boundary_arn
  deletion_protection = var.deletion_protection
}

module "dagster" {
  source                     = "./modules/dagster"
  name                       = local.name
  suffix                     = local.suffix
  key_arn                    = module.encryption.key_arn
  vpc_id                     = module.network.vpc_id
  subnet_ids                 = module.network.private_subnet_ids
  security_group_id          = module.network.tasks_group_id
  image                      = "${module.release.repository_urls["dagster"]}:${var.release}"
  repository_arns            = module.release.repository_arns
  environment                = local.environment_variables
  secrets                    = local.secret_variables
  secret_arns                = local.secret_arns
  stream_arns                = module.streams.arns
  table_arns                 = module.tables.arns
  bet_status_topic_arn       = module.messaging.bet_status_topic_arn
  mail_identity_arn          = module.messaging.mail_identity_arn
  mail_configuration_set_arn = module.messaging.mail_configuration_set_arn
  mail_feedback_queue_arn    = module.messaging.mail_feedback_queue_arn
  lake_read_policy           = module.lake.read_policy
  lake_write_policy          = module.lake.write_policy
  metric_namespace           = var.metric_namespace
  run_cpu                    = var.run_size.cpu
  run_memory                 = var.run_size.memory
  log_retention_days         = var.log_retention_days
}

module "api" {
  source                 = "./modules/api"
  name                   = local.name
  key_arn                = module.encryption.key_arn
  runs_on                = var.api_runs_on
  vpc_id                 = module.network.vpc_id
  public_subnet_ids      = module.network.public_subnet_ids
  private_subnet_ids     = module.network.private_subnet_ids
  load_balancer_group_id = module.network.load_balancer_group_id
  tasks_group_id         = module.network.tasks_group_id
  cluster_name           = module.dagster.cluster_name
  cluster_arn            = module.dagster.cluster_arn
  repository_arn         = module.release.repository_arn_of["api"]
  requests_of_an_address = var.requests_of_an_address
  image                  = "${module.release.repository_urls["api"]}:${var.release}"
  cpu                    = var.api_size.cpu
  memory                 = var.api_size.memory
  tasks                  = var.api_tasks
  certificate_arn        = var.certificate_arn
  environment            = local.environment_variables
  secrets                = local.secret_variables
  secret_arns            = local.secret_arns
  stream_arns            = module.streams.arns
  table_arns             = module.tables.arns
  lake_read_policy       = module.lake.read_policy
  artifacts_bucket       = module.release.artifacts_bucket
  lambda_key             = "lambda/api-${var.release}.zip"
  lambda_memory          = var.lambda_memory
  lambda_concurrency     = var.lambda_concurrency
  throttle               = var.api_throttle
  deletion_protection    = var.deletion_protection
  log_retention_days     = var.log_retention_days
}

module "observability" {
  source                   = "./modules/observability"
  name                     = local.name
  key_arn                  = module.encryption.key_arn
  alarm_emails             = var.alarm_emails
  metric_namespace         = var.metric_namespace
  sources                  = ["exchange-bets", "exchange-feed", "notifications", "confirmations"]
  stream_names             = module.streams.names
  cluster_identifiers      = module.databases.cluster_identifiers
  feedback_dead_queue_name = module.messaging.mail_feedback_dead_queue_name
  api_runs_on              = var.api_runs_on
  load_balancer_suffix     = module.api.load_balancer_suffix
  gateway_id               = module.api.gateway_id
}
