{{/*
Of the pull sources. The puller's job is the name of its Service.
*/}}
{{- define "sluice.pullAlerts" -}}
{{- $name := include "sluice.pullerName" . }}
{{- $where := printf "%s in %s" $name .Release.Namespace }}
{{- $runbooks := .Values.monitoring.prometheusRule.runbookBaseUrl | trimSuffix "/" }}
{{- $of := printf "namespace=%q, job=%q" .Release.Namespace $name }}
- name: {{ $name }}
  rules:
    - alert: SluicePullerDown
      expr: |-
        absent(up{ {{- $of -}} }) or sum by (namespace, job) (up{ {{- $of -}} }) == 0
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: No puller of Sluice answers a scrape
        description: >-
          For 5 minutes Prometheus got /metrics from no pod of {{ $where }}, so no source is pulled.
          See whether its pod runs, and what its log says.
        runbook_url: {{ $runbooks }}/SluicePullerDown.md

    # By the pod that knows best: each asks the database for the success of any.
    - alert: SluicePullStale
      expr: |-
        min by (namespace, job, source) (sluice_pull_last_success_age_seconds{ {{- $of -}} })
        > 3 * max by (namespace, job, source) (sluice_pull_interval_seconds{ {{- $of -}} })
      for: 10m
      labels:
        severity: warning
      annotations:
        summary: A pull source has had no success for three of its intervals
        description: >-
          The last success of source {{ `{{ $labels.source }}` }} of {{ $where }} is
          {{ `{{ $value | humanizeDuration }}` }} old. Its status says why its runs fail: a server that is away, a login that
          ended, a record that cannot be stored.
        runbook_url: {{ $runbooks }}/SluicePullStale.md
{{- end }}
