{{/*
charts/sluice with the environment's values, then the hand-over's, then those of this part. Takes a list: root, its own, hand-over.
*/}}
{{- define "cluster.chart" -}}
{{- $root := index . 0 -}}
repoURL: {{ $root.Values.repository | quote }}
targetRevision: {{ $root.Values.revision | quote }}
path: charts/sluice
helm:
  releaseName: sluice
  valueFiles:
    - /{{ $root.Values.path }}/environments/{{ $root.Values.environment }}/values.yaml
  valuesObject:
    {{- mustMergeOverwrite (deepCopy (index . 2)) (index . 1) | toYaml | nindent 4 }}
{{- end }}

{{/*
Takes a list: more sync options.
*/}}
{{- define "cluster.syncPolicy" -}}
automated: {prune: true, selfHeal: true, allowEmpty: false}
syncOptions: {{ concat . (list "ServerSideApply=true" "PruneLast=true" "FailOnSharedResource=true") | toJson }}
retry:
  limit: 10
  refresh: true
  backoff: {duration: 5s, factor: 2, maxDuration: 3m}
{{- end }}
