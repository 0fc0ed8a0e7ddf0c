# A network of three tiers: public (load balancer, NAT), private (tasks), isolated (databases: no way out at all).
data "aws_availability_zones" "available" {
  #checkov:skip=CKV_AWS_394:Only the first zones of the list are used, as many as a variable says
  state = "available"
}

data "aws_region" "current" {}

locals {
  zones = slice(data.aws_availability_zones.available.names, 0, var.zones)
  # /16 -> /20 each: 0.. public, 4.. private, 8.. isolated.
  public   = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index) }
  private  = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index + 4) }
  isolated = { for index, zone in local.zones : zone => cidrsubnet(var.cidr, 4, index + 8) }
  nat      = var.nat_per_zone ? local.zones : slice(local.zones, 0, 1)

  # Which kinds of task there are, which databases each works with, and whether it calls Elasticsearch or the exchange.
  database_ports = { mysql = 3306, postgresql = 5432 }
  kinds = {
    api            = { description = "The API", databases = ["mysql", "postgresql"], outside = true }
    code-server    = { description = "The code server, in which sensors work", databases = ["mysql", "postgresql"], outside = true }
    daemon         = { description = "Dagster's daemon", databases = ["postgresql"], outside = false }
    webserver      = { description = "The Dagster UI", databases = ["postgresql"], outside = false }
    run            = { description = "Dagster's runs", databases = ["mysql", "postgresql"], outside = true }
    migrate        = { description = "The task that changes the schemas", databases = ["mysql", "postgresql"], outside = true }
    database-users = { description = "The task that makes the databases' users", databases = ["mysql", "postgresql"], outside = false }
  }
  callers_of_code_server = toset(["daemon", "webserver"])
  outside_ports          = distinct(concat(["443"], var.outside_ports))
  out = {
    for pair in flatten([
      for kind, one in local.kinds : [for port in(one.outside ? local.outside_ports : ["443"]) : { kind = kind, port = port }]
    ]) : "${pair.kind}-${pair.port}" => pair
  }
  to_databases = {
    for pair in flatten([
      for kind, one in local.kinds : [for database in one.databases : { kind = kind, database = database }]
    ]) : "${pair.kind}-${pair.database}" => pair
  }
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# The default group is used by nothing and lets nothing through.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-default-unused" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_subnet" "public" {
  for_each          = local.public
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  tags              = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_subnet" "private" {
  for_each          = local.private
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  tags              = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_subnet" "isolated" {
  for_each          = local.isolated
  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  tags              = { Name = "${var.name}-isolated-${each.key}" }
}

resource "aws_eip" "nat" {
  for_each = toset(local.nat)
  domain   = "vpc"
  tags     = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "this" {
  for_each      = toset(local.nat)
  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id
  tags          = { Name = "${var.name}-${each.key}" }
  depends_on    = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }
}

resource "aws_route" "out" {
  route_table_id         = aws_route_table.public.id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this.id
}

resource "aws_route_table_association" "public" {
  for_each       = aws_subnet.public
  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

resource "aws_route_table" "private" {
  for_each = aws_subnet.private
  vpc_id   = aws_vpc.this.id
  tags     = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route" "private_out" {
  for_each               = aws_route_table.private
  route_table_id         = each.value.id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[var.nat_per_zone ? each.key : local.nat[0]].id
}

resource "aws_route_table_association" "private" {
  for_each       = aws_subnet.private
  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[each.key].id
}

resource "aws_route_table" "isolated" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-isolated" }
}

resource "aws_route_table_association" "isolated" {
  for_each       = aws_subnet.isolated
  subnet_id      = each.value.id
  route_table_id = aws_route_table.isolated.id
}

# Who talks to whom. Each rule is a resource of its own, so that groups may name each other.
resource "aws_security_group" "load_balancer" {
  #checkov:skip=CKV2_AWS_5:Attached in the modules of the API, of Dagster and of the databases
  name        = "${var.name}-load-balancer"
  description = "HTTPS from outside"
  vpc_id      = aws_vpc.this.id
}

# One for each kind of task: each reaches what its work takes, and is reached by whom it answers.
resource "aws_security_group" "tasks" {
  #checkov:skip=CKV2_AWS_5:Attached in the modules of the API, of Dagster and of the databases
  for_each    = local.kinds
  name        = "${var.name}-${each.key}"
  description = each.value.description
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "databases" {
  #checkov:skip=CKV2_AWS_5:Attached in the modules of the API, of Dagster and of the databases
  for_each    = local.database_ports
  name        = "${var.name}-${each.key}"
  description = "${each.key}, from the tasks that work with it alone"
  vpc_id      = aws_vpc.this.id
}

resource "aws_security_group" "endpoints" {
  name        = "${var.name}-endpoints"
  description = "AWS services inside the network, from tasks alone"
  vpc_id      = aws_vpc.this.id
}

resource "aws_vpc_security_group_ingress_rule" "outside" {
  for_each          = toset(var.allowed_cidrs)
  security_group_id = aws_security_group.load_balancer.id
  description       = "HTTPS"
  cidr_ipv4         = each.value
  from_port         = 443
  to_port           = 443
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "to_api" {
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "api"
  referenced_security_group_id = aws_security_group.tasks["api"].id
  from_port                    = 8000
  to_port                      = 8000
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "from_load_balancer" {
  security_group_id            = aws_security_group.tasks["api"].id
  description                  = "The load balancer"
  referenced_security_group_id = aws_security_group.load_balancer.id
  from_port                    = 8000
  to_port                      = 8000
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "operators" {
  for_each          = toset(var.operators_cidrs)
  security_group_id = aws_security_group.tasks["webserver"].id
  description       = "Operators"
  cidr_ipv4         = each.value
  from_port         = 3000
  to_port           = 3000
  ip_protocol       = "tcp"
}

# The daemon and the UI ask the code server, and nobody else does.
resource "aws_vpc_security_group_ingress_rule" "code_server" {
  for_each                     = local.callers_of_code_server
  security_group_id            = aws_security_group.tasks["code-server"].id
  description                  = each.key
  referenced_security_group_id = aws_security_group.tasks[each.key].id
  from_port                    = 4000
  to_port                      = 4000
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "code_server" {
  for_each                     = local.callers_of_code_server
  security_group_id            = aws_security_group.tasks[each.key].id
  description                  = "The code server"
  referenced_security_group_id = aws_security_group.tasks["code-server"].id
  from_port                    = 4000
  to_port                      = 4000
  ip_protocol                  = "tcp"
}

# AWS's services, and for those that need them Elasticsearch and the exchange, whose addresses are names: so the port is what can be held to.
resource "aws_vpc_security_group_egress_rule" "tasks_out" {
  for_each          = local.out
  security_group_id = aws_security_group.tasks[each.value.kind].id
  description       = "HTTPS to services"
  cidr_ipv4         = "0.0.0.0/0"
  from_port         = tonumber(each.value.port)
  to_port           = tonumber(each.value.port)
  ip_protocol       = "tcp"
}

resource "aws_vpc_security_group_egress_rule" "tasks_to_databases" {
  for_each                     = local.to_databases
  security_group_id            = aws_security_group.tasks[each.value.kind].id
  description                  = each.value.database
  referenced_security_group_id = aws_security_group.databases[each.value.database].id
  from_port                    = local.database_ports[each.value.database]
  to_port                      = local.database_ports[each.value.database]
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "databases" {
  for_each                     = local.to_databases
  security_group_id            = aws_security_group.databases[each.value.database].id
  description                  = each.value.kind
  referenced_security_group_id = aws_security_group.tasks[each.value.kind].id
  from_port                    = local.database_ports[each.value.database]
  to_port                      = local.database_ports[each.value.database]
  ip_protocol                  = "tcp"
}

resource "aws_vpc_security_group_ingress_rule" "endpoints" {
  for_each                     = local.kinds
  security_group_id            = aws_security_group.endpoints.id
  description                  = each.key
  referenced_security_group_id = aws_security_group.tasks[each.key].id
  from_port                    = 443
  to_port                      = 443
  ip_protocol                  = "tcp"
}

# Traffic to these services never leaves the network (and is not paid for by the NAT gateway's gigabyte).
resource "aws_vpc_endpoint" "gateway" {
  for_each          = toset(["s3", "dynamodb"])
  vpc_id            = aws_vpc.this.id
  vpc_endpoint_type = "Gateway"
  service_name      = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  route_table_ids   = [for table in aws_route_table.private : table.id]
}

resource "aws_vpc_endpoint" "interface" {
  for_each            = toset(var.interface_endpoints)
  vpc_id              = aws_vpc.this.id
  vpc_endpoint_type   = "Interface"
  service_name        = "com.amazonaws.${data.aws_region.current.name}.${each.key}"
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.endpoints.id]
  private_dns_enabled = true
}

# Who spoke with whom, for investigations.
resource "aws_cloudwatch_log_group" "flow" {
  name              = "/${var.name}/flow"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

data "aws_iam_policy_document" "flow_assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "flow" {
  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.flow.arn}:*"]
  }
}

resource "aws_iam_role" "flow" {
  name               = "${var.name}-flow-logs"
  assume_role_policy = data.aws_iam_policy_document.flow_assume.json
}

resource "aws_iam_role_policy" "flow" {
  name   = "write-flow-logs"
  role   = aws_iam_role.flow.id
  policy = data.aws_iam_policy_document.flow.json
}

resource "aws_flow_log" "this" {
  vpc_id          = aws_vpc.this.id
  traffic_type    = "ALL"
  iam_role_arn    = aws_iam_role.flow.arn
  log_destination = aws_cloudwatch_log_group.flow.arn
}
