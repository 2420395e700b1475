{{/*
"true", or nothing.
*/}}
{{- define "sluice.pulls" -}}
{{- if and (include "sluice.serves" .) .Values.pull.enabled }}true{{ end }}
{{- end }}

{{- define "sluice.pullerName" -}}
{{ include "sluice.fullname" . }}-puller
{{- end }}

{{/*
It logs in to the database as the service does.
*/}}
{{- define "sluice.pullerEnv" -}}
HOST: {{ .Values.config.listenAddress | quote }}
ADMIN_PORT: "8081"
MALLOC_ARENA_MAX: "2"
LOG_LEVEL: {{ .Values.config.logLevel }}
MAX_EVENT_BYTES: {{ int64 .Values.config.limits.maxEventBytes | quote }}
SECRET_WAIT_SECONDS: {{ int .Values.timing.secretWaitSeconds | quote }}
SOURCES_FILE: /etc/sluice/sources/sources.yaml
SOURCE_RUNS_DAYS: {{ int .Values.pull.runsDays | quote }}
{{ include "sluice.storeEnv" (list . "service") | trim }}
{{- end }}

{{- define "sluice.wrongPull" -}}
{{- if include "sluice.pulls" . }}
{{- if not .Values.pull.sources }}
- pull.enabled needs pull.sources, the text of a file of sources; `--set-file pull.sources=sources.yaml` gives it
{{- end }}
{{- if .Values.database.embedded }}
- pull.enabled makes a pod of its own, which does not reach the database of database.embedded; turn one of them off
{{- end }}
{{- end }}
{{- end }}
