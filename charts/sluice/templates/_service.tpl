{{/*
Environment of the service. Numbers of its values pass through int64, or Helm writes a million as 1e+06.
*/}}
{{- define "sluice.serviceEnv" -}}
HOST: {{ .Values.config.listenAddress | quote }}
PORT: "8080"
{{- /* Else every thread has a heap of its own, and a worker that parsed large bodies keeps twice the memory (measured, glibc). */}}
MALLOC_ARENA_MAX: "2"
ADMIN_PORT: "8081"
{{- with .Values.config }}
WORKERS: {{ int .workers | quote }}
THREADS: {{ int .threads | quote }}
DB_POOL_SIZE: {{ ternary (include "sluice.poolSize" $) "" (eq (include "sluice.postgresql" $) "true") | quote }}
MAX_REQUESTS: {{ int64 .maxRequests | quote }}
LOG_LEVEL: {{ .logLevel }}
RETENTION_DAYS: {{ ternary (int .retentionDays | toString) "" (gt (int .retentionDays) 0) | quote }}
ERROR_GROUP_RETENTION_DAYS: {{ int .errorGroupRetentionDays | quote }}
ANONYMOUS_PATHS: {{ join "," .anonymousPaths | quote }}
ALLOWED_ORIGINS: {{ join "," .allowedOrigins | quote }}
RATE_LIMIT_REQUESTS_PER_MINUTE: {{ int64 .limits.requestsPerMinute | quote }}
RATE_LIMIT_EVENTS_PER_MINUTE: {{ int64 .limits.eventsPerMinute | quote }}
MAX_BATCH_SIZE: {{ int64 .limits.maxBatchSize | quote }}
MAX_EVENT_BYTES: {{ int64 .limits.maxEventBytes | quote }}
{{- end }}
CONSOLE: {{ include "sluice.console" . | default "off" | quote }}
{{- with include "sluice.bodies" . | fromYaml }}
MAX_BODY_BYTES: {{ int64 .maxBodyBytes | quote }}
MAX_INFLATED_BYTES: {{ int64 .maxInflatedBytes | quote }}
MAX_INFLIGHT_BYTES: {{ int64 .maxInflightBytes | quote }}
{{- end }}
{{- with include "sluice.timing" . | fromYaml }}
REQUEST_TIMEOUT_SECONDS: {{ int .requestTimeoutSeconds | quote }}
GRACEFUL_TIMEOUT: {{ int .gracefulTimeoutSeconds | quote }}
DRAIN_SECONDS: {{ int .drainSeconds | quote }}
KEEP_ALIVE: {{ int .keepAliveSeconds | quote }}
HEARTBEAT_TIMEOUT: {{ int .heartbeatTimeoutSeconds | quote }}
SECRET_WAIT_SECONDS: {{ int .secretWaitSeconds | quote }}
{{- end }}
{{ include "sluice.brokerEnv" . }}
REDIS_URL_FILE: {{ ternary "/etc/sluice/redis/url" "" (ne .Values.redis.existingSecret "") }}
API_KEYS_FILE: {{ ternary "/etc/sluice/keys/API_KEYS" "" (ne .Values.auth.existingSecret "") }}
KEYSET_FILE: {{ ternary "/etc/sluice/keyset/keyset.json" "" (ne (include "sluice.keysetSecret" .) "") }}
{{ include "sluice.storeEnv" (list . "service") | trim }}
{{- end }}

{{/*
A probe. Takes a list: port, path, its values.
*/}}
{{- define "sluice.probe" -}}
httpGet:
  path: {{ index . 1 }}
  port: {{ index . 0 }}
  scheme: HTTP
{{- with index . 2 }}
periodSeconds: {{ int .periodSeconds }}
timeoutSeconds: {{ int .timeoutSeconds }}
successThreshold: 1
failureThreshold: {{ int .failureThreshold }}
{{- end }}
{{- end }}

{{/*
What the outside world may reach: the API, never the admin port nor what it serves.
*/}}
{{- define "sluice.paths" -}}
- {path: /api/v1, prefix: true}
- {path: /log, prefix: false}
- {path: /openapi.json, prefix: false}
- {path: /docs, prefix: true}
- {path: /tasks, prefix: true}
- {path: /posts, prefix: true}
- {path: /status, prefix: false}
- {path: /, prefix: false}
{{- if and .Values.console.outside (include "sluice.console" .) }}
- {path: /console, prefix: true}
{{- end }}
{{- end }}

{{/*
"on" where the console is served. A Service that leads outside has no paths, so there it has to be asked for.
*/}}
{{- define "sluice.console" -}}
{{- if and .Values.console.enabled (or .Values.console.outside (eq .Values.service.type "ClusterIP")) }}on{{ end }}
{{- end }}
