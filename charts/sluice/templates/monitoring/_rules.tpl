{{/*
The share of the requests that fail. Takes a list: selector of all, selector of the failed, window.
*/}}
{{- define "sluice.errorRatio" -}}
sum by (namespace, job) (rate(flask_http_request_duration_seconds_count{ {{- index . 1 -}} }[{{ index . 2 }}]))
/ sum by (namespace, job) (rate(flask_http_request_duration_seconds_count{ {{- index . 0 -}} }[{{ index . 2 }}]))
{{- end }}
