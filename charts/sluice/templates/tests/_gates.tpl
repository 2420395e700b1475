{{/*
"true", or nothing: only behind an AWS load balancer do pods have to have readiness gates, and only the API server knows whether they do.
*/}}
{{- define "sluice.testsGates" -}}
{{- if and .Values.tests.enabled (include "sluice.awsLoadBalancer" .) (include "sluice.serves" .) }}true{{ end }}
{{- end }}
