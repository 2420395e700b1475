# The network module in every mode.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "sluice-dev"
  account                  = { id = "123456789012", partition = "aws", region = "eu-central-1" }
  cidr                     = "10.0.0.0/16"
  availability_zones       = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  nat_mode                 = "single"
  interface_endpoints      = []
  log_retention_days       = 30
  log_key_arn              = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-4234-8234-123456789012"
  permissions_boundary_arn = null
}

run "three_tiers_share_the_vpc_without_overlap" {
  command = plan
  module { source = "./modules/network" }

  assert {
    condition = concat(values(local.private), values(local.public), values(local.data)) == [
      "10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18",
      "10.0.192.0/21", "10.0.200.0/21", "10.0.208.0/21",
      "10.0.216.0/21", "10.0.224.0/21", "10.0.232.0/21",
    ]
    error_message = "The ranges of the tiers have moved: every subnet would be made anew."
  }
}

run "a_third_zone_moves_no_range" {
  command = plan
  module { source = "./modules/network" }

  variables {
    availability_zones = ["eu-central-1a", "eu-central-1b"]
  }

  assert {
    condition     = concat(values(local.private), values(local.data)) == ["10.0.0.0/18", "10.0.64.0/18", "10.0.216.0/21", "10.0.224.0/21"]
    error_message = "Two zones must have the ranges that they have among three."
  }
}

run "a_single_nat_gateway_serves_every_zone" {
  command = plan
  module { source = "./modules/network" }

  assert {
    condition     = keys(aws_nat_gateway.this) == ["eu-central-1a"] && length(aws_route.private) == 3
    error_message = "One gateway, and a default route of each zone to it."
  }
}

run "each_zone_has_its_nat_gateway" {
  command = plan
  module { source = "./modules/network" }

  variables {
    nat_mode = "per_az"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3 && length(aws_route.private) == 3
    error_message = "A gateway for each zone."
  }
}

run "a_private_network_has_no_way_out" {
  command = plan
  module { source = "./modules/network" }

  variables {
    nat_mode            = "none"
    interface_endpoints = ["sts", "ecr.api"]
  }

  assert {
    condition     = length(aws_internet_gateway.this) + length(aws_nat_gateway.this) + length(aws_subnet.public) + length(aws_route.private) + length(aws_route.public) == 0
    error_message = "Neither gateway, public subnet nor default route may be there."
  }

  assert {
    condition     = aws_vpc_endpoint.interface["sts"].service_name == "com.amazonaws.eu-central-1.sts" && aws_vpc_endpoint.interface["sts"].private_dns_enabled
    error_message = "Services must be found inside the VPC by their usual names."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints[0].cidr_ipv4 == "10.0.0.0/16" && aws_vpc_security_group_ingress_rule.endpoints[0].from_port == 443
    error_message = "Endpoints must answer HTTPS from the VPC, and nothing else."
  }
}

run "load_balancers_find_their_subnets" {
  command = plan
  module { source = "./modules/network" }

  assert {
    condition     = alltrue([for subnet in aws_subnet.public : subnet.tags["kubernetes.io/role/elb"] == "1" && subnet.tags["kubernetes.io/cluster/sluice-dev"] == "shared"])
    error_message = "Internet-facing load balancers look for these tags."
  }

  assert {
    condition     = alltrue([for subnet in aws_subnet.private : subnet.tags["kubernetes.io/role/internal-elb"] == "1"])
    error_message = "Internal load balancers look for this tag."
  }

  assert {
    condition     = alltrue([for subnet in merge(aws_subnet.public, aws_subnet.private, aws_subnet.data) : subnet.map_public_ip_on_launch != true])
    error_message = "Nothing gets a public address by itself."
  }
}

run "flow_logs_are_kept_and_the_default_group_is_closed" {
  module { source = "./modules/network" }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_cloudwatch_log_group.flow.retention_in_days == 30 && aws_cloudwatch_log_group.flow.kms_key_id == var.log_key_arn
    error_message = "All traffic is logged, encrypted, for as long as the environment says."
  }

  assert {
    condition     = length(aws_default_security_group.this.ingress) + length(aws_default_security_group.this.egress) == 0
    error_message = "The default security group must let nothing through."
  }

  assert {
    condition     = length(output.private_subnet_ids) == 3 && length(output.data_subnet_ids) == 3 && output.data_subnet_cidrs[0] == "10.0.216.0/21"
    error_message = "The outputs must name every subnet."
  }
}
