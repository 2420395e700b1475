{{/*
Of queue mode, as the workers see it. Their job is the name of their Service.
*/}}
{{- define "sluice.queueAlerts" -}}
{{- $name := include "sluice.workerName" . }}
{{- $where := printf "%s in %s" $name .Release.Namespace }}
{{- $runbooks := .Values.monitoring.prometheusRule.runbookBaseUrl | trimSuffix "/" }}
{{- $of := printf "namespace=%q, job=%q" .Release.Namespace $name }}
- name: {{ $name }}
  rules:
    - alert: SluiceWorkerDown
      expr: |-
        absent(up{ {{- $of -}} }) or sum by (namespace, job) (up{ {{- $of -}} }) == 0
      for: 5m
      labels:
        severity: critical
      annotations:
        summary: No worker of Sluice answers a scrape
        description: >-
          For 5 minutes Prometheus got /metrics from no pod of {{ $where }}: what the service takes in waits in the broker and is
          not stored. See whether its pods run, and what their log says.
        runbook_url: {{ $runbooks }}/SluiceWorkerDown.md

    # Waiting are the messages that no worker has fetched yet; each fetches up to a thousand.
    - alert: SluiceQueueBehind
      expr: |-
        max by (namespace, job) (min_over_time(sluice_queue_depth{ {{- $of }}, queue="logs"}[15m])) > 0
      for: 15m
      labels:
        severity: warning
      annotations:
        summary: The workers do not keep up with the queue
        description: >-
          For half an hour messages have waited in the broker before {{ $where }}, {{ `{{ $value | humanize }}` }} at least.
          Nothing is lost; events are seen later. Run more workers, or look at the database.
        runbook_url: {{ $runbooks }}/SluiceQueueBehind.md

    - alert: SluiceQueueOld
      expr: |-
        max by (namespace, job) (sluice_queue_oldest_seconds{ {{- $of -}} }) > 300
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: Events wait for minutes before they are stored
        description: >-
          The messages that {{ $where }} stores now have waited for {{ `{{ $value | humanizeDuration }}` }}. Readers see events so
          much later. Run more workers, or look at the database.
        runbook_url: {{ $runbooks }}/SluiceQueueOld.md

    - alert: SluiceDeadLetters
      expr: |-
        max by (namespace, job) (sluice_queue_depth{ {{- $of }}, queue="logs.dead"}) > 0
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: Messages could not be stored and wait for somebody
        description: >-
          {{ `{{ $value | humanize }}` }} messages of {{ $where }} are dead letters: each has a reason, and stays until it is
          replayed or dropped.
        runbook_url: {{ $runbooks }}/SluiceDeadLetters.md
{{- end }}
