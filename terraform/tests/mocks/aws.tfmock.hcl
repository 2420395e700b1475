# What a mocked AWS answers where a made-up string would not do.

mock_data "aws_partition" {
  defaults = { partition = "aws" }
}

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_ecr_repository" {
  defaults = { tags = {} }
}

mock_data "aws_eks_cluster" {
  defaults = {
    name     = "shared"
    arn      = "arn:aws:eks:eu-central-1:123456789012:cluster/shared"
    endpoint = "https://ABCDEF.gr7.eu-central-1.eks.amazonaws.com"
    version  = "1.35"
    vpc_config = [{
      cluster_security_group_id = "sg-0123456789abcdef0"
      vpc_id                    = "vpc-0123456789abcdef0"
      subnet_ids                = ["subnet-0c", "subnet-0d"]
    }]
  }
}

mock_data "aws_default_tags" {
  defaults = { tags = { Project = "sluice", Environment = "dev", ManagedBy = "terraform" } }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["eu-central-1a", "eu-central-1b", "eu-central-1c"] }
}

mock_data "aws_iam_policy_document" {
  defaults = { json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
}

mock_data "aws_eks_addon_version" {
  defaults = { version = "v1.35.1-eksbuild.1" }
}

mock_data "aws_iam_openid_connect_provider" {
  defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
}

mock_data "aws_kms_public_key" {
  defaults = { public_key_pem = "-----BEGIN PUBLIC KEY-----\nMFkw\n-----END PUBLIC KEY-----\n" }
}

mock_resource "aws_eks_cluster" {
  defaults = {
    arn      = "arn:aws:eks:eu-central-1:123456789012:cluster/sluice-dev"
    endpoint = "https://ABCDEF.gr7.eu-central-1.eks.amazonaws.com"
    identity = [{ oidc = [{ issuer = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABCDEF" }] }]
    vpc_config = {
      cluster_security_group_id = "sg-0123456789abcdef0"
      vpc_id                    = "vpc-0123456789abcdef0"
      public_access_cidrs       = []
    }
  }
}

mock_resource "aws_iam_openid_connect_provider" {
  defaults = { arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABCDEF" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws:iam::123456789012:role/mocked" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-4234-8234-123456789012" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws:logs:eu-central-1:123456789012:log-group:mocked" }
}

mock_resource "aws_vpc" {
  defaults = { arn = "arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-0123456789abcdef0" }
}

mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:eu-central-1:123456789012:repository/sluice"
    repository_url = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/sluice"
  }
}

mock_resource "aws_launch_template" {
  defaults = { id = "lt-0123456789abcdef0", latest_version = 1 }
}

mock_resource "aws_db_instance" {
  defaults = {
    address            = "sluice-dev.abcdefghijkl.eu-central-1.rds.amazonaws.com"
    resource_id        = "db-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    master_user_secret = [{ secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-0-abcdef" }]
  }
}

mock_resource "aws_backup_vault" {
  defaults = { arn = "arn:aws:backup:eu-central-1:123456789012:backup-vault:mocked" }
}

mock_resource "aws_dynamodb_table" {
  defaults = { arn = "arn:aws:dynamodb:eu-central-1:123456789012:table/sluice-dev-events" }
}

mock_resource "aws_sqs_queue" {
  defaults = { arn = "arn:aws:sqs:eu-central-1:123456789012:mocked" }
}
