{{/*
CEL that is true when two objects agree in every field but some: also in fields that only a later Kubernetes knows.
Takes a list: one, other, names of fields as a list in CEL.
*/}}
{{- define "sluice.celSame" -}}
{{- $one := index . 0 }}
{{- $other := index . 1 }}
{{- $but := index . 2 -}}
{{ $one }}.all(k, k in {{ $but }} || (k in {{ $other }} && {{ $one }}[k] == {{ $other }}[k])) &&
{{ $other }}.all(k, k in {{ $but }} || k in {{ $one }})
{{- end }}

{{/*
CEL that is true when the metadata of an update is as before, but for annotations. Managed fields are the API server's own.
*/}}
{{- define "sluice.celSameMetadata" -}}
{{- range $number, $field := list "labels" "ownerReferences" "finalizers" }}
{{- if $number }} &&
{{ end -}}
object.metadata.?{{ $field }} == oldObject.metadata.?{{ $field }}
{{- end }}
{{- end }}
