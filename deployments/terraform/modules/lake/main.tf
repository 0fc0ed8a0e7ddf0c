# Where the lake's Parquet lies. DuckLake never changes a file; what it drops stays as an old version for some days.
locals {
  folder = "lake/"
}

module "bucket" {
  source              = "../bucket"
  bucket              = "${var.name}-lake-${var.suffix}"
  key_arn             = var.key_arn
  old_version_days    = var.old_version_days
  deletion_protection = var.deletion_protection
}

# What readers and writers of the lake may do; tasks' roles are put together of these. Only a writer lists, for files that a killed one left: the
# catalog names all others.
data "aws_iam_policy_document" "read" {
  statement {
    sid       = "ReadLake"
    actions   = ["s3:GetObject"]
    resources = ["${module.bucket.arn}/${local.folder}*"]
  }
}

data "aws_iam_policy_document" "write" {
  source_policy_documents = [data.aws_iam_policy_document.read.json]

  statement {
    sid       = "WriteLake"
    actions   = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    resources = ["${module.bucket.arn}/${local.folder}*"]
  }

  statement {
    sid       = "ListLake"
    actions   = ["s3:ListBucket"]
    resources = [module.bucket.arn]
    condition {
      test     = "StringEquals"
      variable = "s3:prefix"
      values   = [local.folder]
    }
  }
}
