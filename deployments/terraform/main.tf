# The whole platform in one environment. Staging and production are this same composition with other variables (environments/).
data "aws_caller_identity" "current" {}

locals {
  name   = "exchange-${var.environment}"
  suffix = data.aws_caller_identity.current.account_id

  mysql       = module.databases.endpoints["operational"]
  postgresql  = module.databases.endpoints["catalog"]
  public_name = regex("^https://([^/:]+)", var.public_url)[0]

  # What each kind of task reads, and no more. Everything here may be shown; secrets are beside it, by where they are kept.
  everywhere = {
    EXCHANGE_PLATFORM_AWS_REGION        = var.region
    EXCHANGE_PLATFORM_METRICS_NAMESPACE = var.metric_namespace
    EXCHANGE_PLATFORM_ENVIRONMENT       = local.name
    AWS_DEFAULT_REGION                  = var.region
  }

  platform = merge(local.everywhere, {
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
    EXCHANGE_PLATFORM_ELASTICSEARCH_URL     = var.elasticsearch_url
    EXCHANGE_PLATFORM_DATABASE_TLS          = "verified"
    EXCHANGE_PLATFORM_LAKE_DATA_PATH        = module.lake.data_path
    EXCHANGE_PLATFORM_BETS_CONSUMERS        = tostring(var.bets_consumers)
    EXCHANGE_PLATFORM_RUN_START_S           = "120"
    EXCHANGE_PLATFORM_HAND_OVER_LEAD_S      = "120"
  })

  dagster = {
    EXCHANGE_PLATFORM_DAGSTER_HOST        = local.postgresql.host
    EXCHANGE_PLATFORM_DAGSTER_PORT        = tostring(local.postgresql.port)
    EXCHANGE_PLATFORM_DAGSTER_USER        = "exchange_dagster"
    EXCHANGE_PLATFORM_DAGSTER_DATABASE    = "dagster"
    EXCHANGE_PLATFORM_COMPUTE_LOGS_BUCKET = "${local.name}-compute-logs-${local.suffix}"
    EXCHANGE_PLATFORM_DATABASE_TLS        = "verified"
    # Dagster's own storage reads libpq's variables. The file is written from the secret as the container starts (exchange_platform/process/database_ca.py).
    EXCHANGE_PLATFORM_DATABASE_CA_FILE = "/tmp/database-ca.pem"
    PGSSLMODE                          = "verify-full"
    PGSSLROOTCERT                      = "/tmp/database-ca.pem"
    DAGSTER_HOME                       = "/opt/dagster"
  }

  # Where each user of the databases logs in (docs/deployment.md says what each may do).
  mysql_url = {
    for user in [local.mysql.user, "exchange_migrator", "exchange_platform", "exchange_api"] :
    user => "mysql+pymysql://${user}@${local.mysql.host}:${local.mysql.port}/${local.mysql.database}"
  }
  catalog = {
    for user in [local.postgresql.user, "exchange_migrator", "exchange_platform", "exchange_api", "lake_reader"] :
    user => "postgres:host=${local.postgresql.host} port=${local.postgresql.port} dbname=${local.postgresql.database} user=${user}"
  }

  work = merge(local.platform, local.dagster, {
    EXCHANGE_PLATFORM_DATABASE_URL      = local.mysql_url["exchange_platform"]
    EXCHANGE_PLATFORM_LAKE_CATALOG      = local.catalog["exchange_platform"]
    EXCHANGE_PLATFORM_LAKE_READ_CATALOG = local.catalog["lake_reader"]
    EXCHANGE_PLATFORM_EXCHANGE_URL      = var.exchange_url
  })

  environment_variables = {
    api = merge(local.platform, {
      EXCHANGE_PLATFORM_DATABASE_URL = local.mysql_url["exchange_api"]
      EXCHANGE_PLATFORM_LAKE_CATALOG = local.catalog["exchange_api"]
    })
    run         = local.work
    code-server = local.work
    daemon      = merge(local.everywhere, local.dagster)
    webserver = merge(local.everywhere, local.dagster, {
      EXCHANGE_PLATFORM_ALLOWED_HOSTS = join(",", var.dagster_ui_names)
    })
    migrate = merge(local.platform, {
      EXCHANGE_PLATFORM_DATABASE_URL            = local.mysql_url["exchange_migrator"]
      EXCHANGE_PLATFORM_DATABASE_SEPARATE_USERS = "true"
      EXCHANGE_PLATFORM_LAKE_CATALOG            = local.catalog["exchange_migrator"]
    })
    # The one task that logs in as the databases' administrators.
    database-users = merge(local.everywhere, local.dagster, {
      EXCHANGE_PLATFORM_DATABASE_URL = local.mysql_url[local.mysql.user]
      EXCHANGE_PLATFORM_LAKE_CATALOG = local.catalog[local.postgresql.user]
    })
  }

  kept      = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
  authority = { EXCHANGE_PLATFORM_DATABASE_CA = local.kept["database-ca"] }

  # The secrets of each kind of task, by where they are kept; its execution role reads these and no others.
  secret_variables = {
    api = merge(local.authority, {
      EXCHANGE_PLATFORM_DATABASE_PASSWORD     = local.kept["database-api"]
      EXCHANGE_PLATFORM_LAKE_CATALOG_PASSWORD = local.kept["database-api"]
      EXCHANGE_PLATFORM_API_TOKENS            = local.kept["api-tokens"]
      EXCHANGE_PLATFORM_MAIL_KEY              = local.kept["mail-key"]
      EXCHANGE_PLATFORM_ELASTICSEARCH_API_KEY = local.kept["elasticsearch-read-api-key"]
    })
    run = merge(local.authority, {
      EXCHANGE_PLATFORM_DATABASE_PASSWORD          = local.kept["database-platform"]
      EXCHANGE_PLATFORM_LAKE_CATALOG_PASSWORD      = local.kept["database-platform"]
      EXCHANGE_PLATFORM_LAKE_READ_CATALOG_PASSWORD = local.kept["lake-reader"]
      EXCHANGE_PLATFORM_DAGSTER_PASSWORD           = local.kept["dagster"]
      EXCHANGE_PLATFORM_EXCHANGE_KEY               = local.kept["exchange-key"]
      EXCHANGE_PLATFORM_MAIL_KEY                   = local.kept["mail-key"]
      EXCHANGE_PLATFORM_ELASTICSEARCH_API_KEY      = local.kept["elasticsearch-api-key"]
    })
    code-server = merge(local.authority, {
      EXCHANGE_PLATFORM_DATABASE_PASSWORD          = local.kept["database-platform"]
      EXCHANGE_PLATFORM_LAKE_CATALOG_PASSWORD      = local.kept["database-platform"]
      EXCHANGE_PLATFORM_LAKE_READ_CATALOG_PASSWORD = local.kept["lake-reader"]
      EXCHANGE_PLATFORM_DAGSTER_PASSWORD           = local.kept["dagster"]
      EXCHANGE_PLATFORM_EXCHANGE_KEY               = local.kept["exchange-key"]
      EXCHANGE_PLATFORM_ELASTICSEARCH_API_KEY      = local.kept["elasticsearch-read-api-key"]
    })
    daemon    = merge(local.authority, { EXCHANGE_PLATFORM_DAGSTER_PASSWORD = local.kept["dagster"] })
    webserver = merge(local.authority, { EXCHANGE_PLATFORM_DAGSTER_PASSWORD = local.kept["dagster"] })
    migrate = merge(local.authority, {
      EXCHANGE_PLATFORM_DATABASE_PASSWORD     = local.kept["database-migrator"]
      EXCHANGE_PLATFORM_LAKE_CATALOG_PASSWORD = local.kept["database-migrator"]
      EXCHANGE_PLATFORM_ELASTICSEARCH_API_KEY = local.kept["elasticsearch-api-key"]
    })
    # RDS keeps an administrator's password as JSON: `:password::` picks it out.
    database-users = merge(local.authority, {
      EXCHANGE_PLATFORM_DATABASE_PASSWORD          = "${module.databases.secret_arns["operational"]}:password::"
      EXCHANGE_PLATFORM_LAKE_CATALOG_PASSWORD      = "${module.databases.secret_arns["catalog"]}:password::"
      EXCHANGE_PLATFORM_DATABASE_MIGRATOR_PASSWORD = local.kept["database-migrator"]
      EXCHANGE_PLATFORM_DATABASE_PLATFORM_PASSWORD = local.kept["database-platform"]
      EXCHANGE_PLATFORM_DATABASE_API_PASSWORD      = local.kept["database-api"]
      EXCHANGE_PLATFORM_LAKE_READER_PASSWORD       = local.kept["lake-reader"]
      EXCHANGE_PLATFORM_DAGSTER_PASSWORD           = local.kept["dagster"]
    })
  }
}

module "encryption" {
  source = "./modules/encryption"
  name   = local.name
}

# Their values are put in by hand or by a rotation, never by Terraform: so they are in no state (docs/deployment.md).
resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:Who gives out a token or key changes it, and applications with it; docs/operations.md says how
  for_each = {
    api-tokens                 = "Bearer tokens of the applications that call the API, separated by commas"
    mail-key                   = "Key that signs the links in mails, 32 characters at least"
    elasticsearch-api-key      = "API key of the event index, for those who write it"
    elasticsearch-read-api-key = "API key of the event index, for those who only search it"
    exchange-key               = "Key that the exchange and the platform sign with, 32 characters at least"
    database-ca                = "PEM of the authority that signed the databases' certificates"
    database-migrator          = "Password of the databases' user that changes the schemas"
    database-platform          = "Password of the databases' user that runs work as"
    database-api               = "Password of the databases' user that the API works as"
    lake-reader                = "Password of the user that reads the lake's catalog"
    dagster                    = "Password of the user of Dagster's database"
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
  operators_cidrs     = var.operators_cidrs
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
  security_group_ids  = module.network.database_group_ids
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
  sign_function       = var.sign_function
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
  group_ids                  = module.network.task_group_ids
  image                      = "${module.release.repository_urls["dagster"]}@${var.image_digests.dagster}"
  repository_arn             = module.release.repository_arn_of["dagster"]
  environment                = local.environment_variables
  secrets                    = local.secret_variables
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
  tasks_group_id         = module.network.task_group_ids["api"]
  cluster_name           = module.dagster.cluster_name
  cluster_arn            = module.dagster.cluster_arn
  repository_arn         = module.release.repository_arn_of["api"]
  requests_of_an_address = var.requests_of_an_address
  image                  = "${module.release.repository_urls["api"]}@${var.image_digests.api}"
  host_names             = distinct(concat([local.public_name], var.api_names))
  cpu                    = var.api_size.cpu
  memory                 = var.api_size.memory
  tasks                  = var.api_tasks
  certificate_arn        = var.certificate_arn
  environment            = local.environment_variables["api"]
  secrets                = local.secret_variables["api"]
  stream_arns            = module.streams.arns
  table_arns             = module.tables.arns
  lake_read_policy       = module.lake.read_policy
  artifacts_bucket       = module.release.artifacts_bucket
  lambda_key             = "lambda/api-${var.release}.zip"
  signing_profile_arn    = module.release.signing_profile_arn
  sign_function          = var.sign_function
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
