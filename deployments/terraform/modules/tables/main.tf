# What applications read of a user by key, and the hashes of confirmation tokens.
resource "aws_dynamodb_table" "profiles" {
  name                        = "${var.name}-profiles"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "user_id"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "user_id"
    type = "S"
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.key_arn
  }
}

resource "aws_dynamodb_table" "tokens" {
  name                        = "${var.name}-confirmation-tokens"
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "account_id"
  deletion_protection_enabled = var.deletion_protection

  attribute {
    name = "account_id"
    type = "S"
  }

  # Deletes late, by hours at times: the platform looks at the time itself when a token is used.
  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = var.key_arn
  }
}
