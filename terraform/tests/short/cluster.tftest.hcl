# The cluster module in every mode.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "sluice-dev"
  account                  = { id = "123456789012", partition = "aws", region = "eu-central-1" }
  kubernetes_version       = "1.35"
  subnet_ids               = ["subnet-0a", "subnet-0b"]
  service_cidr             = "172.20.0.0/16"
  public_access_cidrs      = []
  log_types                = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  log_retention_days       = 30
  log_key_arn              = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-4234-8234-123456789012"
  key_deletion_window_days = 30
  access                   = {}
  compute_mode             = "managed"
  workload_identity        = "pod_identity"
  addon_versions           = {}
  cached_repository_arns   = []
  permissions_boundary_arn = null
  node_groups = {
    general = {
      instance_types = ["t4g.large"]
      architecture   = "arm64"
      min_size       = 1
      max_size       = 3
      desired_size   = 2
      disk_gib       = 40
      capacity_type  = "ON_DEMAND"
      labels         = { pool = "general" }
      taints         = [{ key = "only", value = "", effect = "NO_SCHEDULE" }]
    }
  }
}

run "only_access_entries_let_anyone_in" {
  command = plan
  module { source = "./modules/cluster" }

  assert {
    condition     = aws_eks_cluster.this.access_config[0].authentication_mode == "API" && !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "Neither aws-auth nor an implicit administrator."
  }

  assert {
    condition     = aws_eks_cluster.this.upgrade_policy[0].support_type == "STANDARD" && !aws_eks_cluster.this.bootstrap_self_managed_addons
    error_message = "No extended support by accident, no add-on outside of Terraform."
  }
}

run "the_api_is_private" {
  command = plan
  module { source = "./modules/cluster" }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "Without ranges there is no public endpoint."
  }
}

run "the_api_is_public_for_the_named_ranges_only" {
  command = plan
  module { source = "./modules/cluster" }

  variables {
    public_access_cidrs = ["203.0.113.0/24"]
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_private_access && aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "The private endpoint stays on beside the public one."
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "Only the named ranges reach the public endpoint."
  }
}

run "secrets_and_logs_are_encrypted" {
  module { source = "./modules/cluster" }

  assert {
    condition     = aws_eks_cluster.this.encryption_config[0].resources == toset(["secrets"]) && length(aws_eks_cluster.this.enabled_cluster_log_types) == 5
    error_message = "Secrets are encrypted by the cluster's key, and all five logs are on."
  }

  assert {
    condition     = aws_cloudwatch_log_group.control_plane.name == "/aws/eks/sluice-dev/cluster" && aws_cloudwatch_log_group.control_plane.retention_in_days == 30
    error_message = "The log group must be there before EKS makes one without retention."
  }
}

run "nodes_are_hardened" {
  module { source = "./modules/cluster" }

  assert {
    condition     = aws_launch_template.node["general"].metadata_options[0].http_tokens == "required" && aws_launch_template.node["general"].metadata_options[0].http_put_response_hop_limit == 1
    error_message = "A pod must not reach the node's credentials."
  }

  assert {
    condition     = tobool(aws_launch_template.node["general"].block_device_mappings[0].ebs[0].encrypted) && aws_launch_template.node["general"].block_device_mappings[0].ebs[0].volume_type == "gp3"
    error_message = "Disks are encrypted gp3."
  }

  assert {
    condition     = aws_launch_template.node["general"].user_data == null
    error_message = "How many pods a node takes, and what it reserves for them, is EKS's to say for each instance type."
  }

  assert {
    condition     = aws_eks_node_group.this["general"].ami_type == "AL2023_ARM_64_STANDARD" && aws_eks_node_group.this["general"].version == "1.35" && aws_eks_node_group.this["general"].node_repair_config[0].enabled
    error_message = "Nodes follow the cluster's version on Graviton, and are replaced when they break."
  }

  assert {
    condition     = one(aws_eks_node_group.this["general"].taint).key == "only" && aws_eks_node_group.this["general"].update_config[0].max_unavailable_percentage == 33
    error_message = "Taints reach the group, and an update takes a third of the nodes at a time."
  }
}

run "nodes_and_volumes_have_the_tags_of_everything_else" {
  command = plan
  module { source = "./modules/cluster" }

  assert {
    condition     = alltrue([for one in aws_launch_template.node["general"].tag_specifications : one.tags["Project"] == "sluice" && one.tags["Name"] == "sluice-dev-general"])
    error_message = "Instances and disks are made by EC2 and would have no tags."
  }

  assert {
    condition     = jsondecode(aws_eks_addon.after_nodes["aws-ebs-csi-driver"].configuration_values).controller.extraVolumeTags["Environment"] == "dev"
    error_message = "Volumes are made by the CSI driver and would have no tags."
  }
}

run "memory_is_reserved_for_as_many_pods_as_a_node_takes" {
  command = plan
  module { source = "./modules/cluster" }

  variables {
    node_groups = {
      general = {
        instance_types = ["t4g.medium"]
        architecture   = "arm64"
        min_size       = 1
        max_size       = 3
        desired_size   = 2
        disk_gib       = 40
        max_pods       = 40
        capacity_type  = "ON_DEMAND"
        labels         = {}
        taints         = []
      }
    }
  }

  assert {
    condition     = jsondecode(local.node_configs["general"]).spec.kubelet.config == { maxPods = 40, kubeReserved = { cpu = "100m", ephemeral-storage = "1Gi", memory = "695Mi" } }
    error_message = "The kubelet would reserve for 17 pods, and 40 take what the node needs itself."
  }

  assert {
    condition     = strcontains(base64decode(aws_launch_template.node["general"].user_data), "Content-Type: application/node.eks.aws\n\n{")
    error_message = "nodeadm reads its part of the MIME document."
  }
}

run "networking_comes_before_nodes_and_dns_after" {
  command = plan
  module { source = "./modules/cluster" }

  assert {
    condition     = keys(aws_eks_addon.before_nodes) == ["eks-pod-identity-agent", "kube-proxy", "vpc-cni"] && keys(aws_eks_addon.after_nodes) == ["aws-ebs-csi-driver", "coredns", "eks-node-monitoring-agent", "metrics-server"]
    error_message = "Daemons first, deployments once there are nodes."
  }

  assert {
    condition     = jsondecode(aws_eks_addon.before_nodes["vpc-cni"].configuration_values) == { enableNetworkPolicy = "true", env = { ENABLE_PREFIX_DELEGATION = "true", WARM_PREFIX_TARGET = "1" } }
    error_message = "NetworkPolicies are enforced and addresses come in prefixes."
  }
}

run "a_pinned_addon_is_held" {
  command = plan
  module { source = "./modules/cluster" }

  variables {
    addon_versions = { coredns = "v1.12.4-eksbuild.1" }
  }

  assert {
    condition     = aws_eks_addon.after_nodes["coredns"].addon_version == "v1.12.4-eksbuild.1" && aws_eks_addon.before_nodes["vpc-cni"].addon_version == "v1.35.1-eksbuild.1"
    error_message = "A pinned version is held, the others follow EKS."
  }
}

run "addons_get_their_roles_by_association" {
  module { source = "./modules/cluster" }

  assert {
    condition     = keys(module.addon_role) == ["aws-ebs-csi-driver", "vpc-cni"] && aws_eks_addon.before_nodes["vpc-cni"].service_account_role_arn == null && length(aws_iam_openid_connect_provider.this) == 0
    error_message = "With Pod Identity neither the add-on nor an issuer carries the role."
  }
}

run "addons_get_their_roles_by_irsa" {
  module { source = "./modules/cluster" }

  variables {
    workload_identity = "irsa"
  }

  assert {
    condition     = aws_eks_addon.before_nodes["vpc-cni"].service_account_role_arn == "arn:aws:iam::123456789012:role/mocked" && aws_eks_addon.after_nodes["coredns"].service_account_role_arn == null
    error_message = "With IRSA the add-on names its role."
  }

  assert {
    condition     = aws_iam_openid_connect_provider.this[0].client_id_list == toset(["sts.amazonaws.com"])
    error_message = "The issuer is trusted for STS."
  }
}

run "auto_mode_brings_its_own" {
  command = plan
  module { source = "./modules/cluster" }

  variables {
    compute_mode = "auto"
    node_groups  = {}
  }

  assert {
    condition     = aws_eks_cluster.this.compute_config[0].enabled && aws_eks_cluster.this.storage_config[0].block_storage[0].enabled && aws_eks_cluster.this.kubernetes_network_config[0].elastic_load_balancing[0].enabled
    error_message = "EKS refuses auto mode unless its three blocks agree."
  }

  assert {
    condition     = length(aws_eks_addon.before_nodes) + length(module.addon_role) + length(aws_launch_template.node) == 0 && keys(aws_eks_addon.after_nodes) == ["metrics-server"]
    error_message = "Auto mode has its own networking, storage and DNS."
  }

  assert {
    condition     = contains(keys(aws_iam_role_policy_attachment.cluster), "AmazonEKSComputePolicy") && contains(keys(aws_iam_role_policy_attachment.node), "AmazonEKSWorkerNodeMinimalPolicy")
    error_message = "Auto mode needs its policies."
  }
}

run "access_is_scoped" {
  command = plan
  module { source = "./modules/cluster" }

  variables {
    access = {
      platform   = { principal_arn = "arn:aws:iam::123456789012:role/platform", policy = "AmazonEKSClusterAdminPolicy", namespaces = [] }
      developers = { principal_arn = "arn:aws:iam::123456789012:role/developers", policy = "AmazonEKSEditPolicy", namespaces = ["sluice"] }
      operators  = { principal_arn = "arn:aws:iam::123456789012:role/operators", kubernetes_groups = ["sluice-operators"] }
      auditors   = { principal_arn = "arn:aws:iam::123456789012:role/auditors", policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSSecretReaderPolicy" }
    }
  }

  assert {
    condition     = aws_eks_access_entry.this["operators"].kubernetes_groups == toset(["sluice-operators"]) && !contains(keys(aws_eks_access_policy_association.this), "operators")
    error_message = "A group of Kubernetes needs no policy of EKS."
  }

  assert {
    condition     = aws_eks_access_policy_association.this["auditors"].policy_arn == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSSecretReaderPolicy"
    error_message = "A policy may be named by its ARN."
  }

  assert {
    condition     = aws_eks_access_policy_association.this["developers"].access_scope[0].type == "namespace" && aws_eks_access_policy_association.this["developers"].access_scope[0].namespaces == toset(["sluice"])
    error_message = "Developers edit their namespace."
  }

  assert {
    condition     = aws_eks_access_policy_association.this["platform"].access_scope[0].type == "cluster" && aws_eks_access_policy_association.this["platform"].policy_arn == "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    error_message = "The platform team has the cluster."
  }
}

run "only_a_cached_registry_lets_nodes_make_repositories" {
  command = plan
  module { source = "./modules/cluster" }

  assert {
    condition     = length(aws_iam_role_policy.pull_through) == 0
    error_message = "Without a cache nodes only pull."
  }
}
