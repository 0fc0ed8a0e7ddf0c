# Production: in three zones, nothing that holds data can be deleted.
environment         = "production"
region              = "eu-west-1"
deletion_protection = true
cidr                = "10.40.0.0/16"
zones               = 3
nat_per_zone        = true

streams = {
  exchange-bets = { shards = 0, retention_hours = 168 }
  bet-orders    = { shards = 0, retention_hours = 168 }
}

mail_domain       = "exchange.example"
public_url        = "https://api.exchange.example"
exchange_url      = "https://exchange.exchange.example"
elasticsearch_url = "https://events.exchange.example:9243"
certificate_arn   = "arn:aws:acm:eu-west-1:000000000000:certificate/00000000-0000-0000-0000-000000000000"

database_instances = 2
database_capacity  = { min = 2, max = 32 }
backup_days        = 14

run_size    = { cpu = 2048, memory = 4096 }
api_runs_on = ["fargate"]
api_size    = { cpu = 1024, memory = 2048 }
api_tasks   = { min = 3, max = 30 }

log_retention_days = 365
alarm_emails       = ["operators@exchange.example"]
github_repository  = "exchange/exchange-platform"
