# What Argo CD and the chart get. No resource and no secret: only names, numbers and addresses.

locals {
  irsa = var.cluster.workload_identity == "irsa"
  auto = var.cluster.compute_mode == "auto"

  # With Pod Identity no ARN enters the chart's values: the association alone binds role and ServiceAccount.
  chart_accounts = {
    for key in concat(["service", "migrate"], var.queue_url == null ? [] : ["worker"]) : key => merge(
      {
        name        = var.service_accounts[key].name
        annotations = local.irsa ? { "eks.amazonaws.com/role-arn" = var.role_arns[key] } : {}
      },
      # The chart's worker has one of its own only where it is asked to make it.
      key == "worker" ? { create = true } : {},
    )
  }

  # Where events are stored. With DynamoDB the chart's pods have no use for the database.
  store_values = merge(
    var.dynamodb != null ? {} : {
      database = {
        host           = var.database.host
        port           = var.database.port
        name           = var.database.name
        user           = "sluice_app"
        iamAuth        = true
        region         = var.account.region
        maxConnections = var.database.max_connections
        owner          = { secretArn = var.database.owner_secret_arn }
        caConfigMap    = { name = "rds-ca", key = "ca.crt" }
      }
    },
    var.dynamodb == null ? {} : {
      storage = {
        type     = "dynamodb"
        dynamodb = { region = var.account.region, table = var.dynamodb.table, shards = var.dynamodb.shards }
      }
    },
  )

  helm_values = merge(
    local.store_values,
    {
      image          = { repository = var.registry.repository_url }
      serviceAccount = local.chart_accounts
      networkPolicy = merge(
        var.dynamodb != null ? {} : { database = { to = [for cidr in var.network.data_subnet_cidrs : { ipBlock = { cidr = cidr } }] } },
        # In auto mode DNS is no pod but a service of each node: only its address can be named (EKS user guide, "EKS Auto Mode networking").
        local.auto ? { dns = { to = [{ ipBlock = { cidr = "${cidrhost(var.cluster.service_cidr, 10)}/32" } }] } } : {},
        var.network.aws_cidr == null ? {} : { aws = { to = [{ ipBlock = { cidr = var.network.aws_cidr } }] } },
      )
    },
    # A conditional would make one type of both, and text of `true`.
    { for key, value in { broker = { url = var.queue_url }, worker = { enabled = true } } : key => value if var.queue_url != null },
  )
}

# Values of the controller's own chart: its pods cannot ask the node's metadata for region and VPC (hop limit 1), and its role has no right to
# WAF and Shield, which it looks at by default.
locals {
  load_balancer_controller_values = {
    clusterName  = var.cluster.name
    region       = var.account.region
    vpcId        = var.network.vpc_id
    defaultTags  = var.tags
    enableShield = false
    enableWaf    = false
    enableWafv2  = false
    serviceAccount = {
      name        = try(var.service_accounts["load_balancer_controller"].name, "")
      annotations = local.irsa ? { "eks.amazonaws.com/role-arn" = lookup(var.role_arns, "load_balancer_controller", "") } : {}
    }
  }
}

locals {
  controllers = ["image_updater", "load_balancer_controller", "cluster_autoscaler", "external_dns"]
  workloads   = concat(["service", "migrate", "operator"], local.controllers)

  labels = merge(
    {
      "argocd.argoproj.io/secret-type" = "cluster"
      environment                      = var.environment
    },
    { for key in local.controllers : "enable_${key}" => tostring(contains(keys(var.role_arns), key)) },
  )

  # Every key is there in every mode, empty where it means nothing: ApplicationSets read them with missingkey=error.
  annotations = merge(
    {
      aws_account_id            = var.account.id
      aws_partition             = var.account.partition
      aws_region                = var.account.region
      cluster_name              = var.cluster.name
      cluster_version           = var.cluster.version
      cluster_endpoint          = var.cluster.endpoint
      cluster_security_group_id = var.cluster.security_group_id
      compute_mode              = var.cluster.compute_mode
      workload_identity         = var.cluster.workload_identity
      vpc_id                    = var.network.vpc_id
      vpc_cidr                  = var.network.cidr
      public_subnet_ids         = join(",", var.network.public_subnet_ids)
      private_subnet_ids        = join(",", var.network.private_subnet_ids)
      database_host             = var.database.host
      database_port             = tostring(var.database.port)
      database_name             = var.database.name
      database_owner_secret_arn = var.database.owner_secret_arn
      database_max_connections  = tostring(var.database.max_connections)
      image_repository          = var.registry.repository_url
      image_cache_prefixes      = jsonencode(var.registry.cache_prefixes)
      image_signing_key         = var.registry.signing_public_key
      external_dns_zone_ids     = join(",", var.zone_ids)
      gitops_repository         = var.gitops.repository
      gitops_revision           = var.gitops.revision
      gitops_path               = var.gitops.path
      node_architectures        = join(",", var.cluster.architectures)
      sluice_helm_values        = yamlencode(local.helm_values)

      load_balancer_controller_helm_values = local.auto ? "" : yamlencode(local.load_balancer_controller_values)
    },
    { for key in local.workloads : "${key}_namespace" => try(var.service_accounts[key].namespace, "") },
    { for key in local.workloads : "${key}_service_account" => try(var.service_accounts[key].name, "") },
    { for key in local.workloads : "${key}_role_arn" => lookup(var.role_arns, key, "") },
  )

  # Argo CD runs in the cluster that it manages: the in-cluster address, and no credential at all.
  argocd_cluster_secret = {
    apiVersion = "v1"
    kind       = "Secret"
    type       = "Opaque"
    metadata = {
      name        = "cluster-${var.cluster.name}"
      namespace   = "argocd"
      labels      = local.labels
      annotations = local.annotations
    }
    stringData = {
      name   = var.cluster.name
      server = "https://kubernetes.default.svc"
      config = jsonencode({ tlsClientConfig = { insecure = false } })
    }
  }
}

# What auto mode leaves to its user (EKS user guide, "Use Network Policies with EKS Auto Mode", "Create a storage class" and "Create an
# IngressClass to configure an Application Load Balancer"): without the first, NetworkPolicies are taken and not enforced.
locals {
  cluster_manifests = [
    {
      apiVersion = "v1"
      kind       = "ConfigMap"
      metadata   = { name = "amazon-vpc-cni", namespace = "kube-system" }
      data       = { enable-network-policy-controller = "true" }
    },
    {
      apiVersion        = "storage.k8s.io/v1"
      kind              = "StorageClass"
      metadata          = { name = "gp3", annotations = { "storageclass.kubernetes.io/is-default-class" = "true" } }
      provisioner       = "ebs.csi.eks.amazonaws.com"
      volumeBindingMode = "WaitForFirstConsumer"
      parameters        = { type = "gp3", encrypted = "true", kmsKeyId = var.cluster.key_arn }
    },
    {
      apiVersion = "eks.amazonaws.com/v1"
      kind       = "IngressClassParams"
      metadata   = { name = "alb" }
      spec       = { scheme = length(var.network.public_subnet_ids) > 0 ? "internet-facing" : "internal" }
    },
    {
      apiVersion = "networking.k8s.io/v1"
      kind       = "IngressClass"
      metadata   = { name = "alb" }
      spec = {
        controller = "eks.amazonaws.com/alb"
        parameters = { apiGroup = "eks.amazonaws.com", kind = "IngressClassParams", name = "alb" }
      }
    },
  ]
}
