{{/*
How a component logs in, as YAML: url or host; user, password, iamAuth or secretArn. Takes a list: root, component (service, migrate).
*/}}
{{- define "sluice.login" -}}
{{- $its := (index . 0).Values.database }}
{{- $owner := ternary $its.owner dict (eq (index . 1) "migrate") }}
{{- if dig "url" "existingSecret" "" $owner }}
{{- toYaml (pick $owner "url") }}
{{- else if $owner.secretArn }}
{{- toYaml (merge (pick $owner "secretArn") (pick $its "url" "host")) }}
{{- else if dig "password" "existingSecret" "" $owner }}
{{- toYaml (merge (pick $owner "user" "password") (pick $its "host")) }}
{{- else }}
{{- toYaml (pick $its "url" "host" "user" "password" "iamAuth") }}
{{- end }}
{{- end }}

{{/*
Takes a list: root, component.
*/}}
{{- define "sluice.databaseEnv" -}}
{{- $its := (index . 0).Values.database }}
{{- $login := include "sluice.login" . | fromYaml }}
{{- if $its.embedded }}
DATA_DIR: /var/lib/sluice
{{- /* A pod that is deleted has its successor at once, which waits for its end. */}}
DATA_DIR_WAIT_SECONDS: {{ int (include "sluice.timing" (index . 0) | fromYaml).terminationGracePeriodSeconds | quote }}
{{- else if dig "url" "existingSecret" "" $login }}
DATABASE_URL_FILE: /etc/sluice/database/url
{{- else }}
DB_HOST: {{ $login.host | quote }}
DB_PORT: {{ int $its.port | quote }}
DB_NAME: {{ $its.name | quote }}
DB_USER: {{ $login.user | quote }}
{{- end }}
{{- if dig "password" "existingSecret" "" $login }}
DATABASE_PASSWORD_FILE: /etc/sluice/database/password
{{- end }}
{{- if $login.iamAuth }}
DATABASE_IAM_AUTH: "true"
{{- end }}
{{- if and $its.iamAuth (eq (index . 1) "migrate") }}
GRANT_RDS_IAM: "true"
{{- end }}
{{- if or $login.iamAuth $login.secretArn }}
DATABASE_SECRET_ARN: {{ $login.secretArn | quote }}
AWS_REGION: {{ $its.region | quote }}
{{- end }}
{{- if $its.caConfigMap.name }}
DATABASE_CA_FILE: /etc/sluice/database/ca.crt
{{- end }}
DB_SSL_MODE: {{ $its.sslMode | quote }}
{{- end }}

{{/*
The sources of volume `database`, none for an embedded one. Takes a list: root, component.
*/}}
{{- define "sluice.databaseSources" -}}
{{- $its := (index . 0).Values.database }}
{{- $login := include "sluice.login" . | fromYaml }}
{{- range $field := list "url" "password" }}
{{- with dig $field "existingSecret" "" $login }}
{{ include "sluice.projected" (list "secret" . (dig $field "existingSecretKey" "" $login) $field) }}
{{- end }}
{{- end }}
{{- with $its.caConfigMap }}
{{- if .name }}
{{ include "sluice.projected" (list "configMap" .name .key "ca.crt") }}
{{- end }}
{{- end }}
{{- end }}
