{{/*
Exactly the verbs that the operator uses. RBAC cannot tell Secrets by their type, nor fields of a Pod: the policies do.
*/}}
{{- define "sluice.operatorRules" -}}
- apiGroups: [sluice.dev]
  resources: [apikeys, keysets]
  verbs: [list, watch]
- apiGroups: [sluice.dev]
  resources: [apikeys/status, keysets/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
- apiGroups: [""]
  resources: [events]
  verbs: [create]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [list, watch{{ if .Values.operator.enforce }}, patch{{ end }}]
- apiGroups: [apps]
  resources: [replicasets]
  verbs: [list]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [sluice-operator-claim]
  verbs: [get, patch]
{{- end }}

{{/*
What it needs in its own namespace only: the Lease, and what it makes once.
*/}}
{{- define "sluice.operatorRulesAtHome" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "sluice.operatorName" . }}]
  verbs: [get, patch]
{{- if include "sluice.bootstraps" . }}
- apiGroups: [""]
  resources: [configmaps]
  resourceNames: [{{ include "sluice.fullname" . }}-bootstrap]
  verbs: [get]
- apiGroups: [sluice.dev]
  resources: [apikeys, keysets]
  verbs: [create]
{{- end }}
{{- end }}
