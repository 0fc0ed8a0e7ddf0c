# What is executed on the exchange, and what is ordered from it.
resource "aws_kinesis_stream" "this" {
  for_each         = var.streams
  name             = "${var.name}-${each.key}"
  retention_period = each.value.retention_hours
  encryption_type  = "KMS"
  kms_key_id       = var.key_arn
  # On demand, AWS splits and merges shards by itself; consumers follow. Provisioned, an alarm says when to.
  shard_count               = each.value.shards > 0 ? each.value.shards : null
  shard_level_metrics       = each.value.shards > 0 ? ["IteratorAgeMilliseconds", "IncomingBytes", "WriteProvisionedThroughputExceeded", "ReadProvisionedThroughputExceeded"] : []
  enforce_consumer_deletion = true

  stream_mode_details {
    stream_mode = each.value.shards > 0 ? "PROVISIONED" : "ON_DEMAND"
  }

}
