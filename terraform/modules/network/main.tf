# Three tiers: public (NAT gateways, internet-facing load balancers), private (nodes, pods, endpoints), data (databases, no way out).

locals {
  zones = { for place, zone in var.availability_zones : zone => place }

  # The VPC in quarters: one per zone for the private tier, the last one for the other two tiers. Room for three zones is kept from the start,
  # so that a third zone moves nothing.
  private = { for zone, place in local.zones : zone => cidrsubnet(var.cidr, 2, place) }
  shared  = cidrsubnet(var.cidr, 2, 3)
  public  = { for zone, place in local.zones : zone => cidrsubnet(local.shared, 3, place) if var.nat_mode != "none" }
  data    = { for zone, place in local.zones : zone => cidrsubnet(local.shared, 3, 3 + place) }

  first_zone = var.availability_zones[0]
  nat_zones = {
    single = toset([local.first_zone])
    per_az = toset(var.availability_zones)
    none   = toset([])
  }[var.nat_mode]
}

resource "aws_vpc" "this" {
  cidr_block           = var.cidr
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = { Name = var.name }
}

# Adopted and emptied: nothing works by accident.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-default-closed" }
}

resource "aws_subnet" "public" {
  for_each = local.public

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  # The load balancer controller finds its subnets by these two tags.
  tags = {
    Name                                = "${var.name}-public-${each.key}"
    "kubernetes.io/role/elb"            = "1"
    "kubernetes.io/cluster/${var.name}" = "shared"
  }
}

resource "aws_subnet" "private" {
  for_each = local.private

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  tags = {
    Name                                = "${var.name}-private-${each.key}"
    "kubernetes.io/role/internal-elb"   = "1"
    "kubernetes.io/cluster/${var.name}" = "shared"
  }
}

resource "aws_subnet" "data" {
  for_each = local.data

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value
  tags              = { Name = "${var.name}-data-${each.key}" }
}
