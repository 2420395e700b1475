{{/*
"true", or nothing.
*/}}
{{- define "sluice.works" -}}
{{- if and (include "sluice.serves" .) .Values.worker.enabled }}true{{ end }}
{{- end }}

{{- define "sluice.workerName" -}}
{{ include "sluice.fullname" . }}-worker
{{- end }}

{{- define "sluice.workerAccount" -}}
{{- with .Values.serviceAccount.worker }}
{{- $name := .name | default (ternary (include "sluice.workerName" $) "" .create) }}
{{- $name | default (include "sluice.account" (list $ "service")) }}
{{- end }}
{{- end }}

{{/*
Of service and workers: where the broker is.
*/}}
{{- define "sluice.brokerEnv" -}}
QUEUE_URL: {{ .Values.broker.url | quote }}
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
{{ include "sluice.storeEnv" (list . "service") | trim }}
{{- end }}

{{- define "sluice.mostWorkers" -}}
{{- with .Values.worker }}
{{- ternary .keda.maxReplicas .replicas .keda.enabled | int }}
{{- end }}
{{- end }}

{{- define "sluice.wrongQueue" -}}
{{- with .Values }}
{{- if and .worker.enabled (not (or .broker.existingSecret .broker.url)) }}
- worker.enabled needs broker.existingSecret, the Secret with the broker's URL, or broker.url for SQS
{{- end }}
{{- if and .broker.existingSecret .broker.url }}
- broker.existingSecret and broker.url each name a broker; keep one
{{- end }}
{{- if and .broker.url (gt (int64 .config.limits.maxEventBytes) 700000) }}
- Lower config.limits.maxEventBytes {{ int64 .config.limits.maxEventBytes }} to at most 700000: a message of SQS holds 1 MiB
{{- end }}
{{- if and (or .broker.existingSecret .broker.url) .database.embedded }}
- {{ ternary "broker.url" "broker.existingSecret" (ne .broker.url "") }} needs a database that workers reach too, and that of database.embedded is inside the one pod; turn one of them off
{{- end }}
{{- if and (not .worker.enabled) (or .serviceAccount.worker.create .serviceAccount.worker.name) }}
- serviceAccount.worker is for the pods of worker.enabled; set it, or leave serviceAccount.worker.create off and the name empty
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
