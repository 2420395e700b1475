{{/*
Of the Services that Prometheus finds pods by, each with the job that alerts and dashboards know: app.kubernetes.io/instance may be
another one here, for Argo CD that tracks by label writes its Application's name there.
*/}}
{{- define "sluice.jobLabel" -}}
sluice.dev/job
{{- end }}

{{/*
For Prometheus alone; nobody else asks these pods. Takes a list: root, component, name, port, its number.
*/}}
{{- define "sluice.metricsService" -}}
{{- $root := index . 0 }}
{{- $component := list $root (index . 1) -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ index . 2 | quote }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "sluice.labelsOf" $component | nindent 4 }}
    {{ include "sluice.jobLabel" $root }}: {{ index . 2 | quote }}
spec:
  type: ClusterIP
  clusterIP: None
  selector:
    {{- include "sluice.selectorLabelsOf" $component | nindent 4 }}
  ports:
    - name: {{ index . 3 }}
      port: {{ index . 4 }}
      targetPort: {{ index . 3 }}
      protocol: TCP
      appProtocol: http
{{- end }}

{{/*
Of one component's Service. Takes a list: root, component, name, port, most samples of a scrape.
*/}}
{{- define "sluice.serviceMonitor" -}}
{{- $root := index . 0 }}
{{- $component := list $root (index . 1) -}}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  name: {{ index . 2 | quote }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- merge (include "sluice.labelsOf" $component | fromYaml) $root.Values.monitoring.serviceMonitor.labels | toYaml | nindent 4 }}
spec:
  jobLabel: {{ include "sluice.jobLabel" $root }}
  selector:
    matchLabels:
      {{ include "sluice.jobLabel" $root }}: {{ index . 2 | quote }}
  namespaceSelector:
    matchNames:
      - {{ $root.Release.Namespace | quote }}
  endpoints:
    - port: {{ index . 3 }}
      path: /metrics
      scheme: http
      interval: {{ $root.Values.monitoring.serviceMonitor.interval }}
      # Shorter than any interval that the schema allows.
      scrapeTimeout: 4s
      honorLabels: false
  # Beyond these limits Prometheus drops the whole scrape, and SluiceDown or SluiceOperatorDown tells it.
  sampleLimit: {{ index . 4 }}
  labelLimit: 32
  labelNameLengthLimit: 64
  labelValueLengthLimit: 256
{{- end }}
