{{/*
A ConfigMap that Grafana's sidecar reads, one for each dashboard: Argo CD and kubectl may keep a whole object in an annotation, which
takes 256 KiB. Takes a list: root, component, full name of it, name of the dashboard: the file in dashboards/ without `.json`.
*/}}
{{- define "sluice.dashboard" -}}
{{- $root := index . 0 -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ printf "%s-dashboard-%s" (index . 2) (index . 3) }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- merge (include "sluice.labelsOf" (list $root (index . 1)) | fromYaml) $root.Values.monitoring.dashboard.labels | toYaml | nindent 4 }}
data:
  # Its name among the files of all charts, which the sidecar keeps in one folder.
  sluice-{{ index . 3 }}.json: |-
    {{- $root.Files.Get (printf "dashboards/%s.json" (index . 3)) | trim | nindent 4 }}
{{- end }}
