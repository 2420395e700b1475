{{/*
Up to 55 characters: those of the full name and nine.
*/}}
{{- define "sluice.operatorName" -}}
{{ include "sluice.fullname" . }}-operator
{{- end }}

{{/*
The Secret with the key set that the service reads; nothing without one.
*/}}
{{- define "sluice.keysetSecret" -}}
{{- if .Values.auth.keySet.secretName }}{{ .Values.auth.keySet.secretName }}
{{- else if .Values.operator.enabled }}{{ include "sluice.fullname" . }}-published
{{- end }}
{{- end }}

{{/*
"true", or nothing: an operator on its own has no service here that a KeySet could be of.
*/}}
{{- define "sluice.bootstraps" -}}
{{- if and .Values.operator.enabled .Values.operator.bootstrap.enabled (include "sluice.serves" .) }}true{{ end }}
{{- end }}

{{/*
The first ApiKey, and the Secret with its key.
*/}}
{{- define "sluice.firstKey" -}}
{{- .Values.operator.bootstrap.apiKey.name | default (printf "%s-admin" (include "sluice.fullname" .)) }}
{{- end }}

{{/*
The namespaces that the operator looks after, as a YAML list; the release's own first.
*/}}
{{- define "sluice.watched" -}}
{{- toYaml (prepend .Values.operator.watchNamespaces .Release.Namespace | uniq) }}
{{- end }}

{{- define "sluice.operatorEnv" -}}
HOST: {{ .Values.config.listenAddress | quote }}
PORT: "8082"
LOG_LEVEL: {{ .Values.operator.logLevel }}
WATCH_NAMESPACES: {{ include "sluice.watched" . | fromYamlArray | join "," | quote }}
LEASE_NAME: {{ include "sluice.operatorName" . }}
BOOTSTRAP_CONFIGMAP: {{ ternary (printf "%s-bootstrap" (include "sluice.fullname" .)) "" (eq (include "sluice.bootstraps" .) "true") | quote }}
ENFORCE: {{ .Values.operator.enforce | quote }}
{{- end }}

{{/*
Findings of the operator that the values ask for.
*/}}
{{- define "sluice.muted" -}}
{{- if .Values.database.embedded }}
mute.sluice.dev/RolloutDropsAll: database.embedded serves from one pod
{{- end }}
{{- if not .Values.podDisruptionBudget.enabled }}
mute.sluice.dev/NoDisruptionBudget: podDisruptionBudget.enabled is off
{{- end }}
{{- end }}

{{/*
What Kubernetes itself would mount, but only here: no other pod of the chart gets a token.
*/}}
{{- define "sluice.token" -}}
projected:
  defaultMode: 0440
  sources:
    - serviceAccountToken: {path: token, expirationSeconds: 3607}
    - configMap:
        name: kube-root-ca.crt
        items:
          - {key: ca.crt, path: ca.crt}
    - downwardAPI:
        items:
          - path: namespace
            fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}
{{- end }}
