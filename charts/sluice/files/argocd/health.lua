-- Health of ApiKey and KeySet for Argo CD: resource.customizations.health.sluice.dev_ApiKey and ..._KeySet of argocd-cm.
-- Healthy: condition Ready is true for this generation, be the key accepted, pending, revoked or expired. Suspended: the key is
-- suspended. Degraded: somebody should look at it. Progressing: all else, a new object included.
local result = {status = "Progressing", message = "the operator has not looked at it yet"}
if obj.status == nil or obj.status.conditions == nil then
  return result
end
local found = {}
for _, condition in ipairs(obj.status.conditions) do
  if condition.observedGeneration == nil or condition.observedGeneration >= (obj.metadata.generation or 0) then
    found[condition.type] = condition
  end
end
local ready, degraded = found.Ready, found.Degraded
if degraded ~= nil and degraded.status == "True" then
  return {status = "Degraded", message = degraded.message}
end
if ready == nil then
  return result
end
if ready.status ~= "True" then
  return {status = "Progressing", message = ready.message}
end
if ready.reason == "Suspended" then
  return {status = "Suspended", message = ready.message}
end
return {status = "Healthy", message = ready.message}
