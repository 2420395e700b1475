terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }

  # Bucket, key of the state and region come from envs/<environment>.s3.tfbackend.
  backend "s3" {}
}

provider "aws" {
  region = var.region
  # Credentials of another account are refused before anything is planned.
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.tags
  }
}
