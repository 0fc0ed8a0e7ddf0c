terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "5.100.0"
    }
  }

  # Each environment's own bucket: terraform init -backend-config=environments/<environment>.tfbackend -backend-config=bucket=NAME
  backend "s3" {
    encrypt      = true
    use_lockfile = true
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = {
      Platform    = "exchange-platform"
      Environment = var.environment
      ManagedBy   = "terraform"
    }
  }
}
