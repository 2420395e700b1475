output "images" {
  description = "Where each environment pulls Sluice from."
  value       = { dev = module.registry_of_dev.repository_urls["sluice"], prod = module.registry.repository_urls["sluice"] }
}
