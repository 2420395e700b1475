{{/*
"true", or nothing: events are in PostgreSQL.
*/}}
{{- define "sluice.postgresql" -}}
{{- if eq .Values.storage.type "postgresql" }}true{{ end }}
{{- end }}

{{/*
Where events are stored, as the environment of a component. Takes a list: root, component (service, migrate).
*/}}
{{- define "sluice.storeEnv" -}}
{{- $its := (index . 0).Values.storage }}
{{- if eq $its.type "postgresql" }}
{{- include "sluice.databaseEnv" . }}
{{- else }}
STORAGE_TYPE: {{ $its.type }}
{{- end }}
{{- if eq $its.type "dynamodb" }}
{{- with $its.dynamodb }}
AWS_REGION: {{ .region | quote }}
TABLE_NAME: {{ .table | quote }}
DYNAMODB_SHARDS: {{ int .shards | quote }}
DYNAMODB_ENDPOINT: {{ .endpoint | quote }}
{{- end }}
{{- end }}
{{- if eq $its.type "mongodb" }}
MONGODB_URI_FILE: /etc/sluice/database/uri
{{- end }}
{{- if eq $its.type "influxdb" }}
{{- with $its.influxdb }}
INFLUXDB_URL: {{ .url | quote }}
INFLUXDB_ORG: {{ .org | quote }}
INFLUXDB_BUCKET: {{ .bucket | quote }}
INFLUXDB_TOKEN_FILE: /etc/sluice/database/token
{{- end }}
{{- end }}
{{- end }}

{{/*
The sources of volume `database`, none for a store without a secret. Takes a list: root, component.
*/}}
{{- define "sluice.storeSources" -}}
{{- $its := (index . 0).Values.storage }}
{{- if eq $its.type "postgresql" }}
{{- include "sluice.databaseSources" . }}
{{- end }}
{{- if eq $its.type "mongodb" }}
{{ include "sluice.projected" (list "secret" $its.mongodb.existingSecret $its.mongodb.existingSecretKey "uri") }}
{{- end }}
{{- if eq $its.type "influxdb" }}
{{ include "sluice.projected" (list "secret" $its.influxdb.existingSecret $its.influxdb.existingSecretKey "token") }}
{{- end }}
{{- end }}

{{/*
What a store other than PostgreSQL needs, and what does not go with it.
*/}}
{{- define "sluice.wrongStorage" -}}
{{- if not (include "sluice.postgresql" .) }}
{{- with .Values }}
{{- $type := .storage.type }}
{{- range $where, $given := dict "database.embedded" .database.embedded "database.url.existingSecret" .database.url.existingSecret "database.host" .database.host "database.caConfigMap.name" .database.caConfigMap.name }}
{{- if $given }}
- storage.type {{ $type }} uses no PostgreSQL; remove {{ $where }}, or set storage.type to postgresql
{{- end }}
{{- end }}
{{- if and (eq $type "dynamodb") (not (and .storage.dynamodb.table .storage.dynamodb.region)) }}
- storage.type dynamodb needs storage.dynamodb.table and storage.dynamodb.region
{{- end }}
{{- if and (eq $type "dynamodb") (gt (int64 .config.limits.maxEventBytes) 393216) }}
- Lower config.limits.maxEventBytes {{ int64 .config.limits.maxEventBytes }} to at most 393216: an item of DynamoDB holds 400 KB
{{- end }}
{{- if and (eq $type "mongodb") (not .storage.mongodb.existingSecret) }}
- storage.type mongodb needs storage.mongodb.existingSecret, the Secret with the mongodb:// URI
{{- end }}
{{- if and (eq $type "influxdb") (not (and .storage.influxdb.url .storage.influxdb.org .storage.influxdb.bucket .storage.influxdb.existingSecret)) }}
- storage.type influxdb needs storage.influxdb.url, org, bucket and existingSecret, the Secret with the token
{{- end }}
{{- if and .pull.enabled (ne $type "dynamodb") }}
- pull.enabled needs storage.type postgresql or dynamodb, where pull sources keep their records; {{ $type }} has no place for them
{{- end }}
{{- if .migration.indexes }}
- migration.indexes are indexes of PostgreSQL, and storage.type is {{ $type }}; leave them out
{{- end }}
{{- end }}
{{- end }}
{{- end }}
