{{/*
A ConfigMap that Grafana's sidecar reads. Takes a list: root, component, name, file in dashboards/.
*/}}
{{- define "sluice.dashboard" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ index . 2 }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- merge (include "sluice.labelsOf" (list $root (index . 1)) | fromYaml) $root.Values.monitoring.dashboard.labels | toYaml | nindent 4 }}
data:
  {{ index . 3 }}: |-
    {{- $root.Files.Get (printf "dashboards/%s" (index . 3)) | trim | nindent 4 }}
{{- end }}
