# What a release needs: image repositories, a bucket of artifacts, and roles that GitHub Actions enters by OIDC, with no key that lasts.
data "aws_caller_identity" "current" {}

resource "aws_ecr_repository" "this" {
  for_each             = toset(["dagster", "api", "exchange"])
  name                 = "${var.name}/${each.key}"
  image_tag_mutability = "IMMUTABLE"
  force_delete         = !var.deletion_protection

  image_scanning_configuration {
    scan_on_push = true
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = var.key_arn
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each   = aws_ecr_repository.this
  repository = each.value.name
  policy = jsonencode({
    rules = [{
      rulePriority = 1
      description  = "Keep the newest ${var.images_kept}: as far back as a roll-back goes"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.images_kept }
      action       = { type = "expire" }
    }]
  })
}

module "artifacts" {
  source              = "../bucket"
  bucket              = "${var.name}-artifacts-${var.suffix}"
  key_arn             = var.key_arn
  old_version_days    = 90
  deletion_protection = var.deletion_protection
}

# The function runs only what this profile signed (modules/api/lambda.tf).
resource "aws_signer_signing_profile" "function" {
  count       = var.sign_function ? 1 : 0
  platform_id = "AWSLambda-SHA384-ECDSA"
  name_prefix = "exchange_"

  signature_validity_period {
    value = 5
    type  = "YEARS"
  }
}

resource "aws_iam_openid_connect_provider" "github" {
  url            = "https://token.actions.githubusercontent.com"
  client_id_list = ["sts.amazonaws.com"]
}

# A version's tag may only plan. What publishes or applies runs in the environment of this name, which asks for an approval first; and each role believes
# one workflow file alone, as it stands at a version's tag (docs/deployment.md says how GitHub is told to name it in the subject).
locals {
  workflows = "job_workflow_ref:${var.github_repository}/.github/workflows"
  subjects = {
    plan    = "repo:${var.github_repository}:ref:refs/tags/v*:${local.workflows}/terraform.yml@refs/tags/v*"
    publish = "repo:${var.github_repository}:environment:${var.environment}:${local.workflows}/release.yml@refs/tags/v*"
    apply   = "repo:${var.github_repository}:environment:${var.environment}:${local.workflows}/terraform.yml@refs/tags/v*"
  }
}

data "aws_iam_policy_document" "github_assume" {
  for_each = local.subjects

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]
    principals {
      type        = "Federated"
      identifiers = [aws_iam_openid_connect_provider.github.arn]
    }
    condition {
      test     = "StringEquals"
      variable = "token.actions.githubusercontent.com:aud"
      values   = ["sts.amazonaws.com"]
    }
    condition {
      test     = "StringLike"
      variable = "token.actions.githubusercontent.com:sub"
      values   = [each.value]
    }
  }
}

resource "aws_iam_role" "publish" {
  name                 = "${var.name}-publish"
  description          = "Publishes images and artifacts of a version"
  assume_role_policy   = data.aws_iam_policy_document.github_assume["publish"].json
  max_session_duration = 3600
}

data "aws_iam_policy_document" "publish" {
  #checkov:skip=CKV_AWS_356:The calls for the registry's token and for a signing job know no narrower resource
  statement {
    sid       = "EnterRegistry"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    sid = "PushImages"
    actions = [
      "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:DescribeImages",
      "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
    ]
    resources = [for repository in aws_ecr_repository.this : repository.arn]
  }

  statement {
    sid       = "ReadArtifacts"
    actions   = ["s3:GetObject"]
    resources = ["${module.artifacts.arn}/*"]
  }

  # Only what is not there yet: a version that was published stays what it is.
  statement {
    sid       = "UploadNewArtifacts"
    actions   = ["s3:PutObject"]
    resources = ["${module.artifacts.arn}/*"]
    condition {
      test     = "Null"
      variable = "s3:if-none-match"
      values   = ["false"]
    }
  }

  dynamic "statement" {
    for_each = aws_signer_signing_profile.function
    content {
      sid       = "SignFunction"
      actions   = ["signer:StartSigningJob"]
      resources = [statement.value.arn]
    }
  }

  # A job has no name before it is started: AWS knows no narrower resource that could be named here.
  dynamic "statement" {
    for_each = aws_signer_signing_profile.function
    content {
      sid       = "FollowSigning"
      actions   = ["signer:DescribeSigningJob"]
      resources = ["*"]
    }
  }

  # Signing reads a version of the zip, and writes what it signed beside it; from there it is published as everything else is.
  dynamic "statement" {
    for_each = aws_signer_signing_profile.function
    content {
      sid       = "SignedBySigner"
      actions   = ["s3:PutObject", "s3:GetObjectVersion"]
      resources = ["${module.artifacts.arn}/signing/*"]
    }
  }

  statement {
    sid       = "UseKey"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.key_arn]
  }
}

resource "aws_iam_role_policy" "publish" {
  name   = "publish"
  role   = aws_iam_role.publish.id
  policy = data.aws_iam_policy_document.publish.json
}

# What a plan needs: to read. It reads no secret's value, and no object that is encrypted with the platform's key.
resource "aws_iam_role" "plan" {
  name                 = "${var.name}-plan"
  description          = "Plans this environment for a version"
  assume_role_policy   = data.aws_iam_policy_document.github_assume["plan"].json
  max_session_duration = 3600
}

resource "aws_iam_role_policy_attachment" "plan" {
  role       = aws_iam_role.plan.name
  policy_arn = "arn:aws:iam::aws:policy/ReadOnlyAccess"
}

# Terraform makes roles, so whoever applies is as mighty as the account: hence the approval, and a boundary that the account's owner sets.
resource "aws_iam_role" "apply" {
  name                 = "${var.name}-apply"
  description          = "Plans and applies this environment"
  assume_role_policy   = data.aws_iam_policy_document.github_assume["apply"].json
  permissions_boundary = var.apply_boundary_arn
  max_session_duration = 3600
}

resource "aws_iam_role_policy_attachment" "apply" {
  #checkov:skip=CKV2_AWS_56:Who applies makes roles; it is held by an approval and by a boundary
  for_each   = toset(var.apply_policy_arns)
  role       = aws_iam_role.apply.name
  policy_arn = each.value
}
