locals {
  name = "${var.project}-${var.environment}"
  # Rules that prod has and dev has not.
  production = coalesce(var.production, var.environment == "prod")
  # One environment makes the registry and GitHub's roles, and each image is built once; the others pull it by its digest.
  registry_owner = var.registry_of == null ? null : {
    name       = "${var.project}-${var.registry_of}"
    account_id = coalesce(var.registry_account_id, var.account_id)
  }
  tags = merge({ Project = var.project, Environment = var.environment, ManagedBy = "terraform" }, var.tags)

  account = {
    id        = var.account_id
    partition = data.aws_partition.current.partition
    region    = var.region
  }

  # Each zone EKS can put a control plane in, in the order of names; the variable fixes them.
  availability_zones = length(var.availability_zones) > 0 ? var.availability_zones : slice(
    sort(data.aws_availability_zones.usable.names), 0, min(var.az_count, length(data.aws_availability_zones.usable.names))
  )

  # What a cluster without internet talks to (EKS user guide, "Deploy private clusters with limited internet access"), and Secrets Manager for the
  # migration.
  private_endpoints = [
    "autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticloadbalancing", "logs", "secretsmanager", "sts",
  ]
  interface_endpoints = var.interface_endpoints != null ? var.interface_endpoints : toset(
    var.nat_mode == "none" ? concat(local.private_endpoints, var.queue == null ? [] : ["sqs"]) : []
  )

  # The cache's first pull of an image needs a route to the internet (ECR user guide, "Considerations for using pull through cache rules").
  # Without one, what the platform runs beside Sluice is copied to repositories of the same names. GovCloud has no such cache ("What's New",
  # 17 November 2023).
  no_cache           = var.nat_mode == "none" || startswith(var.region, "us-gov-")
  pull_through_cache = var.pull_through_cache != null ? var.pull_through_cache : toset(local.no_cache ? [] : local.upstreams)
  upstreams          = ["ecr-public", "k8s", "quay"]
  private_mirrors = [
    "ecr-public/docker/library/redis", "ecr-public/eks/aws-load-balancer-controller", "k8s/autoscaling/cluster-autoscaler",
    "k8s/external-dns/external-dns", "quay/argoproj/argocd",
  ]
  mirrored_repositories = var.mirrored_repositories != null ? var.mirrored_repositories : toset(var.nat_mode == "none" ? local.private_mirrors : [])

  # End of standard support, 14 months after EKS has a version: of 1.35 by the EKS user guide's release calendar, of 1.36 (on EKS since
  # 2 June 2026) by endoflife.date. For 1.37, which AWS's CDK names, no date was found. A version that is not here is taken without a warning before its end.
  kubernetes_support_ends = { "1.35" = "2027-03-27", "1.36" = "2027-08-02" }

  addons = ["aws-ebs-csi-driver", "coredns", "eks-node-monitoring-agent", "eks-pod-identity-agent", "kube-proxy", "metrics-server", "vpc-cni"]

  # Graviton families have a g after their number: t4g, m7g, c7gn, im4gn.
  graviton           = "^[a-z]+[0-9]+g[a-z]*\\."
  node_architectures = { for name, group in var.node_groups : name => can(regex(local.graviton, group.instance_types[0])) ? "arm64" : "x86_64" }

  # As image indexes name them. Auto mode's general-purpose pool is amd64 (EKS user guide, "Enable or disable built-in NodePools").
  architectures = var.compute_mode == "auto" ? ["amd64"] : sort(distinct([
    for architecture in values(local.node_architectures) : { arm64 = "arm64", x86_64 = "amd64" }[architecture]
  ]))

  # Memory of each class (RDS user guide, "Hardware specifications for DB instance classes").
  database_memory_gib = {
    "db.t4g.micro"   = 1
    "db.t4g.small"   = 2
    "db.t4g.medium"  = 4
    "db.t4g.large"   = 8
    "db.m7g.large"   = 8
    "db.m7g.xlarge"  = 16
    "db.m7g.2xlarge" = 32
    "db.r7g.large"   = 16
    "db.r7g.xlarge"  = 32
    "db.r7g.2xlarge" = 64
  }
  # A little below RDS's own formula (memory / 9531392 bytes, about 112 for a GiB), and like it at most 5000.
  database_max_connections = coalesce(
    var.database_max_connections, min(5000, 100 * lookup(local.database_memory_gib, var.database_instance_class, 1))
  )

  # Minutes of the day, of the windows of backups and of maintenance.
  database_windows = [
    for times in regexall("([0-9]{2}):([0-9]{2})-(?:[a-z]{3}:)?([0-9]{2}):([0-9]{2})", "${var.database_backup_window} ${var.database_maintenance_window}") :
    { start = times[0] * 60 + times[1], minutes = (times[2] - times[0]) * 60 + times[3] - times[1] }
  ]

  github_contexts = var.github == null ? {} : {
    push = var.github.push_context
    sign = var.github.sign_context
  }

  # The one place that names ServiceAccounts: associations, trust policies and the chart's values all come from here.
  service_accounts = merge(
    {
      service       = { namespace = var.namespace, name = "sluice" }
      migrate       = { namespace = var.namespace, name = "sluice-migrate" }
      operator      = { namespace = var.namespace, name = "sluice-operator" }
      image_updater = { namespace = "argocd", name = "argocd-image-updater" }
      external_dns  = { namespace = "external-dns", name = "external-dns" }
    },
    var.queue == null ? {} : { worker = { namespace = var.namespace, name = "sluice-worker" } },
    # Auto mode brings both along.
    var.compute_mode == "auto" ? {} : {
      load_balancer_controller = { namespace = "kube-system", name = "aws-load-balancer-controller" }
      cluster_autoscaler       = { namespace = "kube-system", name = "cluster-autoscaler" }
    },
  )

  # What AWS cannot change without making it anew, data and all.
  chosen_once = {
    name                 = local.name
    region               = var.region
    vpc_cidr             = var.vpc_cidr
    cluster_service_cidr = var.cluster_service_cidr
    compute_mode         = var.compute_mode
    database_name        = var.database_name
    availability_zones   = local.availability_zones
  }

  # EKS keeps a control plane in the zones that it was made in; a zone that came later has nodes and database only. A state of before this was
  # kept has no zones of birth.
  birth_zones = try(terraform_data.birth.output.availability_zones, local.availability_zones)
  control_plane_subnet_ids = [
    for place, zone in sort(local.availability_zones) : module.network.private_subnet_ids[place] if contains(local.birth_zones, zone)
  ]
}
