{{/*
Alerts of the operator and of what it looks after. `namespace` is the release's; that of a key or key set is `exported_namespace`,
for a scrape does not let what is scraped name itself.
*/}}
{{- define "sluice.operatorAlerts" -}}
{{- $name := include "sluice.operatorName" . }}
{{- $where := printf "%s in %s" $name .Release.Namespace }}
{{- $runbooks := .Values.monitoring.prometheusRule.runbookBaseUrl | trimSuffix "/" }}
{{- $of := printf "namespace=%q, job=%q" .Release.Namespace $name }}
{{- /* The services may be of other releases, whose jobs have other names. */}}
{{- $refused := printf "sluice_auth_total{namespace=~%q, result=~%q}" (include "sluice.watched" . | fromYamlArray | join "|") "unknown|expired|revoked" -}}
- name: {{ $name }}.process
  rules:
    - alert: SluiceOperatorDown
      expr: |-
        absent(up{ {{- $of -}} }) or sum by (namespace, job) (up{ {{- $of -}} }) == 0
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: No operator of Sluice answers a scrape
        description: >-
          For 5 minutes Prometheus got /metrics from no pod of {{ $where }}. Keys go on working and dates are kept;
          nothing is rotated, revoked, delivered or repaired until it is back.
        runbook_url: {{ $runbooks }}/SluiceOperatorDown.md

    - alert: SluiceOperatorNoLeader
      expr: |-
        sum by (namespace, job) (sluice_operator_leader{ {{- $of -}} }) == 0
      for: 2m
      labels:
        severity: warning
      annotations:
        summary: Operators of Sluice run and none leads
        description: >-
          For 2 minutes no pod of {{ $where }} held the Lease, so nothing is rotated, revoked or repaired.
          See who holds the Lease, and whether the operator may write it.
        runbook_url: {{ $runbooks }}/SluiceOperatorNoLeader.md

    - alert: SluiceOperatorWatchStale
      expr: |-
        max by (namespace, job, exported_namespace, resource) (
          sluice_operator_watch_last_event_age_seconds{ {{- $of -}} }
        ) > 150
      for: 1m
      labels:
        severity: warning
      annotations:
        summary: The operator of Sluice hears nothing of a resource
        description: >-
          For {{ `{{ $value | humanizeDuration }}` }} {{ $where }} heard nothing of {{ `{{ $labels.resource }}` }}
          in {{ `{{ $labels.exported_namespace }}` }}, not even that all is quiet. It restarts by itself; if that does not help,
          look at the API server.
        runbook_url: {{ $runbooks }}/SluiceOperatorWatchStale.md

    - alert: SluiceOperatorForbidden
      expr: |-
        max by (namespace, job, verb, resource) (sluice_operator_forbidden{ {{- $of -}} }) == 1
      for: 2m
      labels:
        severity: warning
      annotations:
        summary: The operator of Sluice is refused what it needs
        description: >-
          The API server refuses {{ $where }} to {{ `{{ $labels.verb }}` }} {{ `{{ $labels.resource }}` }}: its Role, a policy or a
          quota. Keys go on working, and what needs this call waits.
        runbook_url: {{ $runbooks }}/SluiceOperatorForbidden.md

    - alert: SluiceOperatorFailing
      expr: |-
        sum by (namespace, job) (rate(sluice_operator_reconcile_total{ {{- $of }}, result!="ok"}[10m]))
        / sum by (namespace, job) (rate(sluice_operator_reconcile_total{ {{- $of -}} }[10m])) > 0.5
      for: 15m
      labels:
        severity: warning
      annotations:
        summary: Most of what the operator of Sluice tries fails
        description: >-
          {{ `{{ $value | humanizePercentage }}` }} of the looks of {{ $where }} at its key sets end with an error.
          It tries again ever more slowly; its log names the call that fails.
        runbook_url: {{ $runbooks }}/SluiceOperatorFailing.md

- name: {{ $name }}.keys
  rules:
    - alert: SluiceKeysetLagging
      expr: |-
        sum by (namespace, job, exported_namespace, keyset) (sluice_operator_keyset_lagging_pods{ {{- $of -}} }) > 0
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: Pods do not take the newest keys
        description: >-
          For 5 minutes {{ `{{ $value }}` }} pods of KeySet {{ `{{ $labels.keyset }}` }} in {{ `{{ $labels.exported_namespace }}` }}
          have not had its newest revision. Rotations wait for them; a revoked key may still be taken there.
        runbook_url: {{ $runbooks }}/SluiceKeysetLagging.md

    - alert: SluiceKeyDegraded
      expr: |-
        max by (namespace, job, kind, exported_namespace, name, reason) (
          sluice_operator_condition{ {{- $of }}, type="Degraded"}
        ) == 1
      for: 15m
      labels:
        severity: warning
      annotations:
        summary: An ApiKey or KeySet needs somebody
        description: >-
          {{ `{{ $labels.kind }}` }} {{ `{{ $labels.name }}` }} in {{ `{{ $labels.exported_namespace }}` }} has been degraded for
          15 minutes, reason {{ `{{ $labels.reason }}` }}. kubectl describe tells it in a sentence.
        runbook_url: {{ $runbooks }}/SluiceKeyDegraded.md

    - alert: SluiceKeySetAside
      expr: |-
        max by (namespace, job, kind, exported_namespace, name, reason) (
          sluice_operator_condition{ {{- $of }}, type="Degraded", reason=~"InvalidApiKey|InvalidKeySet|NotPlanned"}
        ) == 1
      labels:
        severity: warning
      annotations:
        summary: The operator of Sluice cannot plan an ApiKey or a KeySet
        description: >-
          {{ `{{ $labels.kind }}` }} {{ `{{ $labels.name }}` }} in {{ `{{ $labels.exported_namespace }}` }} is left as it is, reason
          {{ `{{ $labels.reason }}` }}: it, or each key of the KeySet, is not rotated or delivered. Only spec.revoked and
          spec.suspended are obeyed; all other keys go on.
        runbook_url: {{ $runbooks }}/SluiceKeySetAside.md

    - alert: SluiceKeyNotReady
      expr: |-
        max by (namespace, job, exported_namespace, name, reason) (
          sluice_operator_condition{ {{- $of }}, kind="ApiKey", type="Ready"}
        ) == 1
      for: 15m
      labels:
        severity: warning
      annotations:
        summary: An ApiKey is not what its spec asks for
        description: >-
          ApiKey {{ `{{ $labels.name }}` }} in {{ `{{ $labels.exported_namespace }}` }} has not been ready for 15 minutes,
          reason {{ `{{ $labels.reason }}` }}: what its spec asks for is not reached.
        runbook_url: {{ $runbooks }}/SluiceKeyNotReady.md

    - alert: SluiceKeyExpires
      expr: |-
        0 < max by (namespace, job, exported_namespace, name) (
          sluice_operator_key_expiry_timestamp_seconds{ {{- $of -}} }
        ) - time() < 7 * 86400
      labels:
        severity: warning
      annotations:
        summary: A key expires within a week
        description: >-
          ApiKey {{ `{{ $labels.name }}` }} in {{ `{{ $labels.exported_namespace }}` }} is refused in
          {{ `{{ $value | humanizeDuration }}` }}: a rotation does not move its spec.expiresAt.
          Move the date, or see that its client no longer needs it.
        runbook_url: {{ $runbooks }}/SluiceKeyExpires.md

    - alert: SluiceKeyRotationLate
      expr: |-
        time() - max by (namespace, job, exported_namespace, name) (
          sluice_operator_key_next_rotation_timestamp_seconds{ {{- $of -}} }
        ) > 3600
      for: 15m
      labels:
        severity: warning
      annotations:
        summary: A key was not rotated in time
        description: >-
          The rotation of ApiKey {{ `{{ $labels.name }}` }} in {{ `{{ $labels.exported_namespace }}` }} was due
          {{ `{{ $value | humanizeDuration }}` }} ago. The old version goes on working; the conditions of key and key set say what
          holds it.
        runbook_url: {{ $runbooks }}/SluiceKeyRotationLate.md

    - alert: SluiceKeyPreviousInUse
      expr: |-
        max by (namespace, job, exported_namespace, name) (
          sluice_operator_condition{ {{- $of }}, type="PreviousInUse"}
        ) == 1
      for: 1h
      labels:
        severity: info
      annotations:
        summary: A client still uses the key before its last rotation
        description: >-
          Somebody uses the old version of ApiKey {{ `{{ $labels.name }}` }} in {{ `{{ $labels.exported_namespace }}` }} late in its
          overlap. It ends at status.previousEndsAt: let that client read its Secret again.
        runbook_url: {{ $runbooks }}/SluiceKeyPreviousInUse.md

    - alert: SluiceKeysRefusedAfterRotation
      expr: |-
        sum by (namespace, job) (rate({{ $refused }}[5m]))
        > 5 * sum by (namespace, job) (rate({{ $refused }}[30m] offset 30m)) + 0.1
        and on () sum(increase(sluice_operator_rotations_total{ {{- $of -}} }[30m])) > 0
      for: 5m
      labels:
        severity: warning
      annotations:
        summary: More keys are refused since a rotation
        description: >-
          {{ `{{ $labels.job }}` }} in {{ `{{ $labels.namespace }}` }} refuses keys {{ `{{ $value | humanize }}` }} times a second,
          over five times as often as before the last rotation by {{ $where }}. Strangers can cause that too, so nothing is
          undone by itself: see whose key it is.
        runbook_url: {{ $runbooks }}/SluiceKeysRefusedAfterRotation.md

    - alert: SluiceProbesNotProven
      expr: |-
        max by (namespace, job, exported_namespace, name, reason) (
          sluice_operator_condition{ {{- $of }}, kind="KeySet", type="ProbesWired"}
        ) == 1
      for: 30m
      labels:
        severity: info
      annotations:
        summary: The probes of what verifies keys are wrong or unproven
        description: >-
          KeySet {{ `{{ $labels.name }}` }} in {{ `{{ $labels.exported_namespace }}` }} has had ProbesWired not true for 30 minutes,
          reason {{ `{{ $labels.reason }}` }}. Its message lists what is wrong, each a way in which a small fault becomes an outage.
        runbook_url: {{ $runbooks }}/SluiceProbesNotProven.md
{{- end }}
