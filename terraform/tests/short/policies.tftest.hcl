# Policies as they are really rendered: the real provider, which a plan of roles and policies never lets out on the network.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "none"
  secret_key                  = "none"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
}

variables {
  name    = "sluice-dev"
  account = { id = "123456789012", partition = "aws", region = "eu-central-1" }
  cluster = {
    name              = "sluice-dev"
    arn               = "arn:aws:eks:eu-central-1:123456789012:cluster/sluice-dev"
    workload_identity = "pod_identity"
  }
  permissions_boundary_arn = null

  service_accounts = {
    service = { namespace = "sluice", name = "sluice" }
    migrate = { namespace = "sluice", name = "sluice-migrate" }
  }
  github = {
    owner         = "acme"
    owner_id      = 11
    repository    = "sluice"
    repository_id = 22
    contexts      = { push = "environment:registry-push", sign = "ref:refs/heads/main" }
  }
  repository_arns = ["arn:aws:ecr:eu-central-1:123456789012:repository/sluice"]
  signing_key_arn = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-4234-8234-123456789012"
  database = {
    resource_id      = "db-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    owner_secret_arn = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:rds!db-0-abcdef"
    key_arn          = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-4234-8234-123456789abc"
  }
  cluster_security_group_id = "sg-0123456789abcdef0"
  vpc_arn                   = "arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-0123456789abcdef0"
  zone_ids                  = ["Z0123456789ABCDEFGHIJ"]
}

run "github_is_trusted_by_exact_claims" {
  command = plan
  module { source = "./modules/identity" }

  override_data {
    target = data.aws_iam_openid_connect_provider.github
    values = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }

  assert {
    condition = alltrue([
      for purpose, context in var.github.contexts : jsondecode(data.aws_iam_policy_document.github_trust[purpose].json).Statement[0].Condition == {
        StringEquals = {
          "token.actions.githubusercontent.com:aud"           = "sts.amazonaws.com"
          "token.actions.githubusercontent.com:repository_id" = "22"
          "token.actions.githubusercontent.com:sub"           = ["repo:acme/sluice:${context}", "repo:acme@11/sluice@22:${context}"]
        }
      }
    ])
    error_message = "Audience, repository id and both forms of the subject, each exactly, and no other operator."
  }

  assert {
    condition = toset(keys(local.policies)) == toset([
      "service", "migrate", "image_updater", "load_balancer_controller", "cluster_autoscaler", "external_dns",
    ])
    error_message = "The operator has no role."
  }
}

run "each_purpose_may_do_its_own" {
  command = plan
  module { source = "./modules/identity" }

  override_data {
    target = data.aws_iam_openid_connect_provider.github
    values = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
  }

  assert {
    condition     = !strcontains(data.aws_iam_policy_document.push.json, "kms:") && strcontains(data.aws_iam_policy_document.sign.json, "kms:Sign")
    error_message = "Who pushes cannot sign."
  }

  assert {
    condition     = !strcontains(data.aws_iam_policy_document.pull.json, "ecr:Put") && strcontains(data.aws_iam_policy_document.pull.json, "ecr:ListImages")
    error_message = "Image Updater only pulls."
  }
}

run "the_service_may_log_in_and_nothing_else" {
  command = plan
  module { source = "./modules/identity" }

  variables {
    github = null
  }

  assert {
    condition = jsondecode(data.aws_iam_policy_document.service.json).Statement == [{
      Sid      = "LogInToTheDatabase"
      Effect   = "Allow"
      Action   = "rds-db:connect"
      Resource = "arn:aws:rds-db:eu-central-1:123456789012:dbuser:db-ABCDEFGHIJKLMNOPQRSTUVWXYZ/sluice_app"
    }]
    error_message = "The service logs in as sluice_app to this one instance."
  }

  assert {
    condition     = [for statement in jsondecode(data.aws_iam_policy_document.migrate.json).Statement : [statement.Action, statement.Resource]] == [["secretsmanager:GetSecretValue", var.database.owner_secret_arn], ["kms:Decrypt", var.database.key_arn]]
    error_message = "The migration reads one secret and uses one key."
  }
}

run "a_role_is_of_one_service_account" {
  command = plan
  module { source = "./modules/workload_role" }

  variables {
    namespace       = "sluice"
    service_account = "sluice-migrate"
    policy          = "{}"
  }

  assert {
    condition = jsondecode(data.aws_iam_policy_document.pod_identity[0].json).Statement[0].Condition == {
      StringEquals = {
        "aws:SourceAccount"                         = "123456789012"
        "aws:RequestTag/eks-cluster-arn"            = "arn:aws:eks:eu-central-1:123456789012:cluster/sluice-dev"
        "aws:RequestTag/kubernetes-namespace"       = "sluice"
        "aws:RequestTag/kubernetes-service-account" = "sluice-migrate"
      }
    }
    error_message = "Of this account, cluster, namespace and ServiceAccount, each exactly."
  }
}

run "irsa_names_audience_and_subject" {
  command = plan
  module { source = "./modules/workload_role" }

  variables {
    namespace       = "sluice"
    service_account = "sluice"
    policy          = "{}"
    cluster = {
      name              = "sluice-dev"
      arn               = "arn:aws:eks:eu-central-1:123456789012:cluster/sluice-dev"
      workload_identity = "irsa"
      oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABCDEF"
    }
  }

  assert {
    condition = jsondecode(data.aws_iam_policy_document.irsa[0].json).Statement[0].Condition == {
      StringEquals = {
        "oidc.eks.eu-central-1.amazonaws.com/id/ABCDEF:aud" = "sts.amazonaws.com"
        "oidc.eks.eu-central-1.amazonaws.com/id/ABCDEF:sub" = "system:serviceaccount:sluice:sluice"
      }
    }
    error_message = "Audience and subject, each exactly."
  }
}
