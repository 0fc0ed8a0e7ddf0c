# Staging: the same as production, smaller, and it may be torn down.
environment         = "staging"
region              = "eu-west-1"
deletion_protection = false
cidr                = "10.41.0.0/16"
zones               = 2
nat_per_zone        = false
interface_endpoints = []

streams = {
  exchange-bets = { shards = 1, retention_hours = 48 }
  bet-orders    = { shards = 1, retention_hours = 48 }
}

mail_domain       = "staging.exchange.example"
public_url        = "https://api.staging.exchange.example"
exchange_url      = "https://exchange.staging.exchange.example"
elasticsearch_url = "https://events.staging.exchange.example:9243"
certificate_arn   = "arn:aws:acm:eu-west-1:000000000000:certificate/00000000-0000-0000-0000-000000000000"

database_instances = 1
database_capacity  = { min = 0.5, max = 2 }
backup_days        = 3

api_runs_on = ["fargate", "lambda"]
api_tasks   = { min = 1, max = 2 }

log_retention_days = 30
alarm_emails       = []
github_repository  = "exchange/exchange-platform"
