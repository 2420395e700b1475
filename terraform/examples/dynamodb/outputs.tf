output "helm_values" {
  description = "Values for charts/sluice; what is left is the image, and where API keys come from."
  value = yamlencode({
    serviceAccount = {
      service = { name = "sluice" }
      migrate = { name = "sluice-migrate" }
      worker  = { create = true, name = "sluice-worker" }
    }
    storage = { type = "dynamodb", dynamodb = { region = var.region, table = module.dynamodb.table } }
    broker  = { url = module.queue.queue_url }
    worker  = { enabled = true }
  })
}
