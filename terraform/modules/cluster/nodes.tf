# The provider tags what Terraform makes; instances, their disks and volumes are made by others, and get the same tags here.
data "aws_default_tags" "current" {}

locals {
  made_tags = data.aws_default_tags.current.tags == null ? {} : data.aws_default_tags.current.tags
  # EKS's own images, so no image id here: the node group takes the newest of its Kubernetes version.
  ami_types = { arm64 = "AL2023_ARM_64_STANDARD", x86_64 = "AL2023_x86_64_STANDARD" }
  # Without max_pods the node takes what EKS reckons with for its instance type. With it the kubelet reserves memory for as many, by EKS's own
  # formula (255 MiB and 11 MiB for each pod, nodeadm); the default would reserve for the instance's own number.
  node_configs = { for name, group in var.node_groups : name => jsonencode({
    apiVersion = "node.eks.aws/v1alpha1"
    kind       = "NodeConfig"
    spec = { kubelet = { config = {
      maxPods      = group.max_pods
      kubeReserved = { cpu = "100m", ephemeral-storage = "1Gi", memory = "${255 + 11 * group.max_pods}Mi" }
    } } }
  }) if group.max_pods != null }
  user_data = { for name, config in local.node_configs : name => <<-MIME
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary="//"

    --//
    Content-Type: application/node.eks.aws

    ${config}
    --//--
  MIME
  }
}

resource "aws_launch_template" "node" {
  for_each = var.node_groups

  name        = "${var.name}-${each.key}"
  description = "Nodes ${each.key} of cluster ${var.name}"
  user_data   = try(base64encode(local.user_data[each.key]), null)

  # Hop limit 1: a pod cannot reach the node's credentials.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type           = "gp3"
      volume_size           = each.value.disk_gib
      encrypted             = true
      kms_key_id            = module.key.arn
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = merge(local.made_tags, { Name = "${var.name}-${each.key}" })
  }

  tag_specifications {
    resource_type = "volume"
    tags          = merge(local.made_tags, { Name = "${var.name}-${each.key}" })
  }
}

resource "aws_eks_node_group" "this" {
  for_each = var.node_groups

  cluster_name           = aws_eks_cluster.this.name
  node_group_name_prefix = "${each.key}-"
  node_role_arn          = aws_iam_role.node.arn
  subnet_ids             = var.subnet_ids
  version                = aws_eks_cluster.this.version
  ami_type               = local.ami_types[each.value.architecture]
  instance_types         = each.value.instance_types
  capacity_type          = each.value.capacity_type
  labels                 = each.value.labels

  launch_template {
    id      = aws_launch_template.node[each.key].id
    version = aws_launch_template.node[each.key].latest_version
  }

  scaling_config {
    min_size     = each.value.min_size
    max_size     = each.value.max_size
    desired_size = each.value.desired_size
  }

  update_config {
    max_unavailable_percentage = 33
  }

  node_repair_config {
    enabled = true
  }

  dynamic "taint" {
    for_each = each.value.taints
    content {
      key    = taint.value.key
      value  = taint.value.value
      effect = taint.value.effect
    }
  }

  lifecycle {
    # Other subnets or instance types mean another group: it is ready before the old one is drained, pod by pod.
    create_before_destroy = true
    # The autoscaler's, once the group is there.
    ignore_changes = [scaling_config[0].desired_size]
  }

  # Networking and credentials are there before the first node asks for them.
  depends_on = [aws_eks_addon.before_nodes, aws_iam_role_policy.pull_through, aws_iam_role_policy_attachment.node]
}
