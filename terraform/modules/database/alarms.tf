# Told to a topic of SNS that somebody reads. CPU credits are of burstable classes only.
locals {
  burstable = startswith(var.instance_class, "db.t")
  gib       = 1024 * 1024 * 1024
  alarms = var.alarm_topic_arn == null ? {} : merge(
    {
      storage     = { metric = "FreeStorageSpace", below = true, threshold = var.storage.initial_gib * local.gib / 10 }
      connections = { metric = "DatabaseConnections", below = false, threshold = floor(var.max_connections * 0.8) }
    },
    local.burstable ? { credits = { metric = "CPUCreditBalance", below = true, threshold = 50 } } : {},
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-database-${each.key}"
  alarm_description   = "${each.value.metric} of ${var.name} is ${each.value.below ? "below" : "above"} ${each.value.threshold} for 15 minutes"
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = { DBInstanceIdentifier = aws_db_instance.this.identifier }
  statistic           = "Average"
  comparison_operator = each.value.below ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = 300
  evaluation_periods  = 3
  # RDS tells them every minute: silence is an alarm too.
  treat_missing_data = "breaching"
  alarm_actions      = [var.alarm_topic_arn]
  ok_actions         = [var.alarm_topic_arn]
}
