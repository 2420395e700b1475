# List prices of us-east-1 in US dollars, on demand, read on 2026-11-21 (sources: docs/costs.md). Traffic, logs and images come on top.
locals {
  hours = 730
  prices = {
    cluster       = 0.10
    nat_gateway   = 0.045 + 0.005 # the gateway and its public address
    endpoint_zone = 0.01
    key_month     = 1.00
    disk_gib      = 0.08
    database_gib  = 0.115
    instance = {
      "t4g.medium" = 0.0336, "t4g.large" = 0.0672, "t4g.xlarge" = 0.1344
      "m7g.medium" = 0.0408, "m7g.large" = 0.0816, "m7g.xlarge" = 0.1632
    }
    database = {
      "db.t4g.micro" = 0.016, "db.t4g.small" = 0.032, "db.t4g.medium" = 0.065, "db.t4g.large" = 0.129
      "db.m7g.large" = 0.168, "db.m7g.xlarge" = 0.337, "db.m7g.2xlarge" = 0.674
      "db.r7g.large" = 0.239, "db.r7g.xlarge" = 0.478, "db.r7g.2xlarge" = 0.956
    }
  }

  # The group as it starts; the autoscaler may take more. An instance type without a price counts as null, and so does the sum then.
  node_costs = [for group in values(var.node_groups) : try(
    group.desired_size * (local.hours * local.prices.instance[group.instance_types[0]] + group.disk_gib * local.prices.disk_gib), null
  )]

  cost_parts = {
    cluster   = local.hours * local.prices.cluster
    nodes     = try(sum(concat([0], local.node_costs)), null)
    network   = local.hours * local.prices.nat_gateway * { single = 1, per_az = var.az_count, none = 0 }[var.nat_mode]
    endpoints = local.hours * local.prices.endpoint_zone * var.az_count * length(local.interface_endpoints)
    database = try((var.database_multi_az ? 2 : 1) * (
      local.hours * local.prices.database[var.database_instance_class] + var.database_storage_gib * local.prices.database_gib
    ), null)
    keys = (5 + (var.queue == null ? 0 : 1) + (var.dynamodb == null ? 0 : 1)) * local.prices.key_month
  }

  monthly_estimate = merge(
    { for part, cost in local.cost_parts : part => try(ceil(cost), null) },
    { total = try(ceil(sum(values(local.cost_parts))), null) },
  )
}
