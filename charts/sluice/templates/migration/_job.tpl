{{/*
"true", or nothing: the embedded database is migrated by the service itself, and an operator on its own has none.
*/}}
{{- define "sluice.migrates" -}}
{{- if and .Values.migration.enabled (not .Values.database.embedded) (include "sluice.serves" .) }}true{{ end }}
{{- end }}

{{- define "sluice.migrationEnv" -}}
LOG_LEVEL: {{ .Values.config.logLevel }}
SECRET_WAIT_SECONDS: {{ int .Values.migration.secretWaitSeconds | quote }}
{{ include "sluice.storeEnv" (list . "migrate") | trim }}
{{- end }}

{{- define "sluice.migrationSpec" -}}
backoffLimit: {{ int .Values.migration.backoffLimit }}
activeDeadlineSeconds: {{ int .Values.migration.activeDeadlineSeconds }}
podReplacementPolicy: Failed
podFailurePolicy:
  rules:
    # A pod that a drain took away is no failure.
    - action: Ignore
      onPodConditions:
        - {type: DisruptionTarget, status: "True"}
    # Exit code 2: its settings cannot be used, and another try would not help.
    - action: FailJob
      onExitCodes: {containerName: migrate, operator: In, values: [2]}
template:
  metadata:
    labels:
      {{- include "sluice.podLabels" (list . "migrate" dict) | nindent 6 }}
    {{- with .Values.migration.podAnnotations }}
    annotations:
      {{- toYaml . | nindent 6 }}
    {{- end }}
  spec:
    serviceAccountName: {{ include "sluice.account" (list . "migrate") | quote }}
    # Each try in a pod of its own: their logs stay until the Job goes.
    restartPolicy: Never
    {{- include "sluice.pod" (list . .Values.migration) | trim | nindent 4 }}
    containers:
      - name: migrate
        args:
          - migrate
          {{- range .Values.migration.indexes }}
          - --index={{ . }}
          {{- end }}
        {{- include "sluice.container" . | nindent 8 }}
        env:
          {{- include "sluice.env" (include "sluice.migrationEnv" . | fromYaml) | trim | nindent 10 }}
          {{- include "sluice.more" (list .Values.extraEnv 10) }}
        {{- include "sluice.envFrom" (list . 8) }}
        resources:
          {{- include "sluice.resources" .Values.migration.resources | nindent 10 }}
        volumeMounts:
          - {name: tmp, mountPath: /tmp}
          {{- include "sluice.more" (list .Values.extraVolumeMounts 10) }}
          {{- with include "sluice.storeSources" (list . "migrate") | trim }}
          - {name: database, mountPath: /etc/sluice/database, readOnly: true}
          {{- end }}
    volumes:
      - name: tmp
        emptyDir: {sizeLimit: 64Mi}
      {{- include "sluice.more" (list .Values.extraVolumes 6) }}
      {{- with include "sluice.storeSources" (list . "migrate") | trim }}
      - name: database
        projected:
          defaultMode: 0440
          sources:
            {{- . | nindent 12 }}
      {{- end }}
{{- end }}

{{/*
A Job cannot be changed, so one that differs has another name.
*/}}
{{- define "sluice.migrationName" -}}
{{ include "sluice.fullname" . }}-migrate-{{ include "sluice.migrationSpec" . | sha256sum | trunc 8 }}
{{- end }}
