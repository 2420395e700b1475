{{- define "sluice.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 46 | trimSuffix "-" }}
{{- end }}

{{/*
46 characters leave room for `-migrate-<8 hex digits>` in the name of a Job, which is a label of its pods.
*/}}
{{- define "sluice.fullname" -}}
{{- $name := include "sluice.name" . }}
{{- $whole := ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) }}
{{- .Values.fullnameOverride | default $whole | trunc 46 | trimSuffix "-" }}
{{- end }}

{{/*
Of a component's ServiceAccount. Takes a list: root, component (service, migrate).
*/}}
{{- define "sluice.account" -}}
{{- $root := index . 0 }}
{{- $its := get $root.Values.serviceAccount (index . 1) }}
{{- $own := print (include "sluice.fullname" $root) (ternary "-migrate" "" (eq (index . 1) "migrate")) }}
{{- $its.name | default (ternary $own "default" $its.create) }}
{{- end }}

{{/*
The ServiceAccounts that the release makes, by component, as YAML.
*/}}
{{- define "sluice.accounts" -}}
{{- $its := .Values.serviceAccount }}
{{- if $its.service.create }}
service: {{ include "sluice.account" (list . "service") | quote }}
{{- end }}
{{- if and $its.migrate.create (include "sluice.migrates" .) }}
migrate: {{ include "sluice.account" (list . "migrate") | quote }}
{{- end }}
{{- if and $its.worker.create (include "sluice.works" .) }}
worker: {{ include "sluice.workerAccount" . | quote }}
{{- end }}
{{- end }}

{{/*
"true", or nothing: an operator on its own makes nothing of the service.
*/}}
{{- define "sluice.serves" -}}
{{- if not .Values.operator.only }}true{{ end }}
{{- end }}

{{/*
A text as the value of a label: of a version what Kubernetes takes, wherever 63 characters end.
*/}}
{{- define "sluice.labelValue" -}}
{{- . | replace "+" "_" | trunc 63 | trimAll "._-" }}
{{- end }}

{{- define "sluice.image" -}}
{{- $its := .Values.image }}
{{- if $its.digest -}}
{{ $its.repository }}{{ with $its.tag }}:{{ . }}{{ end }}@{{ $its.digest }}
{{- else -}}
{{ $its.repository }}:{{ $its.tag | default .Chart.AppVersion }}
{{- end }}
{{- end }}

{{/*
What selects pods. It cannot be changed once installed, so it holds nothing that ever changes. Takes a list: root, component.
*/}}
{{- define "sluice.selectorLabelsOf" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "sluice.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{- define "sluice.selectorLabels" -}}
{{- include "sluice.selectorLabelsOf" (list . "service") }}
{{- end }}

{{/*
Labels of a pod: they change only when what runs changes. The chart's own win over the user's. Takes a list: root, component, more.
*/}}
{{- define "sluice.podLabels" -}}
{{- $root := index . 0 }}
{{- $own := include "sluice.selectorLabelsOf" . | fromYaml }}
{{- $_ := set $own "app.kubernetes.io/version" (include "sluice.labelValue" ($root.Values.image.tag | default $root.Chart.AppVersion)) }}
{{- $_ := set $own "app.kubernetes.io/part-of" "sluice" }}
{{- $_ := set $own "app.kubernetes.io/managed-by" $root.Release.Service }}
{{- toYaml (merge $own (index . 2) $root.Values.commonLabels) }}
{{- end }}

{{/*
Labels of any other object. Takes a list: root, component.
*/}}
{{- define "sluice.labelsOf" -}}
{{- $root := index . 0 }}
{{- $chart := include "sluice.labelValue" (printf "%s-%s" $root.Chart.Name $root.Chart.Version) }}
{{- include "sluice.podLabels" (list $root (index . 1) (dict "helm.sh/chart" $chart)) }}
{{- end }}

{{- define "sluice.labels" -}}
{{- include "sluice.labelsOf" (list . "service") }}
{{- end }}

{{/*
When Argo CD applies an object: what the migration needs, then the migration, then (0, the default) the rest.
Plain annotations: Helm passes them by, and one Argo hook would make Argo ignore all hooks of Helm.
*/}}
{{- define "sluice.wave" -}}
argocd.argoproj.io/sync-wave: {{ . | quote }}
{{- end }}

{{/*
Of what is the cluster's own: Helm leaves it when the release goes, and so does Argo CD.
*/}}
{{- define "sluice.keep" -}}
helm.sh/resource-policy: keep
argocd.argoproj.io/sync-options: Prune=false,Delete=false
{{- end }}
