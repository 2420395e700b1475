{{/*
"true", or nothing.
*/}}
{{- define "sluice.works" -}}
{{- if and (include "sluice.serves" .) .Values.worker.enabled }}true{{ end }}
{{- end }}

{{- define "sluice.workerName" -}}
{{ include "sluice.fullname" . }}-worker
{{- end }}

{{/*
Of service and workers: where the broker is.
*/}}
{{- define "sluice.brokerEnv" -}}
QUEUE_URL_FILE: {{ ternary "/etc/sluice/broker/url" "" (ne .Values.broker.existingSecret "") }}
{{- end }}

{{/*
It logs in to the database as the service does.
*/}}
{{- define "sluice.workerEnv" -}}
HOST: {{ .Values.config.listenAddress | quote }}
ADMIN_PORT: "8081"
MALLOC_ARENA_MAX: "2"
LOG_LEVEL: {{ .Values.config.logLevel }}
MAX_EVENT_BYTES: {{ int64 .Values.config.limits.maxEventBytes | quote }}
RETENTION_DAYS: {{ ternary (int .Values.config.retentionDays | toString) "" (gt (int .Values.config.retentionDays) 0) | quote }}
{{- with include "sluice.timing" . | fromYaml }}
HEARTBEAT_TIMEOUT: {{ int .heartbeatTimeoutSeconds | quote }}
SECRET_WAIT_SECONDS: {{ int .secretWaitSeconds | quote }}
{{- end }}
{{ include "sluice.brokerEnv" . }}
{{ include "sluice.databaseEnv" (list . "service") | trim }}
{{- end }}

{{- define "sluice.mostWorkers" -}}
{{- with .Values.worker }}
{{- ternary .keda.maxReplicas .replicas .keda.enabled | int }}
{{- end }}
{{- end }}

{{- define "sluice.wrongQueue" -}}
{{- with .Values }}
{{- if and .worker.enabled (not .broker.existingSecret) }}
- worker.enabled needs broker.existingSecret, the Secret with the broker's URL
{{- end }}
{{- if and .broker.existingSecret .database.embedded }}
- broker.existingSecret needs a database that workers reach too, and that of database.embedded is inside the one pod; turn one of them off
{{- end }}
{{- if and .worker.keda.enabled (lt (int .worker.keda.maxReplicas) (int .worker.keda.minReplicas)) }}
- Increase worker.keda.maxReplicas {{ int .worker.keda.maxReplicas }} to at least {{ int .worker.keda.minReplicas }} (must not be below worker.keda.minReplicas {{ int .worker.keda.minReplicas }})
{{- end }}
{{- end }}
{{- end }}

{{/*
A volume with one URL out of a Secret. Takes a list: volume, Secret, key.
*/}}
{{- define "sluice.urlVolume" -}}
- name: {{ index . 0 }}
  projected:
    defaultMode: 0440
    sources:
      {{- include "sluice.projected" (list "secret" (index . 1) (index . 2) "url") | nindent 6 }}
{{- end }}
