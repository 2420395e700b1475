{{/*
One flow: peers and ports. Nobody lets nobody through, while an empty list in a NetworkPolicy means everyone. Everyone is written like
that: Cilium finds nodes, a Kubernetes API on them and its own Ingress and Gateway by no address. Takes a list: from or to, peers, then
ports as [protocol, number].
*/}}
{{- define "sluice.flow" -}}
{{- $peers := index . 1 }}
{{- if $peers }}
{{- $outside := and (has (dict "ipBlock" (dict "cidr" "0.0.0.0/0")) $peers) (has (dict "ipBlock" (dict "cidr" "::/0")) $peers) }}
- ports:
    {{- range slice . 2 }}
    - {protocol: {{ first . }}, port: {{ last . | int }}}
    {{- end }}
  {{- if not (and $outside (has (dict "namespaceSelector" dict) $peers)) }}
  {{ first . }}:
    {{- toYaml $peers | nindent 4 }}
  {{- end }}
{{- end }}
{{- end }}

{{/*
Who may reach the service: clients and `helm test` the API, Prometheus the admin port, the operator both. Nobody reaches migration
and test.
*/}}
{{- define "sluice.ingressOfService" -}}
{{- $test := include "sluice.selectorLabelsOf" (list . "test") | fromYaml }}
{{- with .Values.networkPolicy }}
{{- include "sluice.flow" (list "from" .api.from (list "TCP" 8080)) }}
{{- include "sluice.flow" (list "from" .prometheus.from (list "TCP" 8081)) }}
{{- end }}
{{- if .Values.tests.enabled }}
{{- include "sluice.flow" (list "from" (list (dict "podSelector" (dict "matchLabels" $test))) (list "TCP" 8080)) }}
{{- end }}
{{- /* The operator of the namespace, which may be of another release: with the key set that one publishes it asks these pods too. */}}
{{- if include "sluice.keysetSecret" . }}
{{- $operator := include "sluice.selectorLabelsOf" (list . "operator") | fromYaml }}
{{- $other := dict "app.kubernetes.io/part-of" "sluice" "app.kubernetes.io/component" "operator" }}
{{- $operator = ternary $operator $other .Values.operator.enabled }}
{{- include "sluice.flow" (list "from" (list (dict "podSelector" (dict "matchLabels" $operator))) (list "TCP" 8080) (list "TCP" 8081)) }}
{{- end }}
{{- end }}

{{/*
Of those that only Prometheus asks. Takes a list: root, port.
*/}}
{{- define "sluice.ingressOfPrometheus" -}}
{{- include "sluice.flow" (list "from" (first .).Values.networkPolicy.prometheus.from (list "TCP" (last .))) }}
{{- end }}

{{/*
What service and workers reach beside the database. Takes a list: root, and which of broker and redis.
*/}}
{{- define "sluice.egressToServers" -}}
{{- range slice . 1 }}
{{- if (get (first $).Values .).existingSecret }}
{{- with get (first $).Values.networkPolicy . }}
{{- include "sluice.flow" (concat (list "to" .to) (include "sluice.tcp" .ports | fromYamlArray)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
What the puller reaches: what the service does, and the servers of its sources.
*/}}
{{- define "sluice.egressOfPuller" -}}
{{- include "sluice.egressOf" (list . "puller") }}
{{- with .Values.networkPolicy.sources }}
{{- include "sluice.flow" (concat (list "to" .to) (include "sluice.tcp" .ports | fromYamlArray)) }}
{{- end }}
{{- end }}

{{/*
What the operator reaches: the Kubernetes API, by address, and the pods that verify keys.
*/}}
{{- define "sluice.egressOfOperator" -}}
{{- $pods := list }}
{{- range include "sluice.watched" . | fromYamlArray }}
{{- $pods = append $pods (dict "namespaceSelector" (dict "matchLabels" (dict "kubernetes.io/metadata.name" .))) }}
{{- end }}
{{- with .Values.networkPolicy }}
{{- include "sluice.egressToKubernetes" $ }}
{{- include "sluice.flow" (concat (list "to" $pods) (include "sluice.tcp" .targets.ports | fromYamlArray)) }}
{{- end }}
{{- end }}

{{- define "sluice.egressToKubernetes" -}}
{{- with .Values.networkPolicy.kubernetesApi }}
{{- include "sluice.flow" (concat (list "to" .to) (include "sluice.tcp" .ports | fromYamlArray)) }}
{{- end }}
{{- end }}

{{/*
Port numbers as `sluice.flow` takes them.
*/}}
{{- define "sluice.tcp" -}}
{{- range . }}
- [TCP, {{ int . }}]
{{- end }}
{{- end }}

{{/*
What a component reaches: names, its store and AWS. Takes a list: root, component (service, worker, puller, migrate).
*/}}
{{- define "sluice.egressOf" -}}
{{- $aws := include "sluice.usesAws" . }}
{{- $store := include "sluice.egressToStore" . }}
{{- with (index . 0).Values.networkPolicy }}
{{- include "sluice.egressToNames" . }}
{{- $store }}
{{- if $aws }}
{{- include "sluice.flow" (list "to" .aws.to (list "TCP" 443)) }}
{{- include "sluice.egressToPodIdentity" . }}
{{- end }}
{{- end }}
{{- end }}

{{/*
"true", or nothing. Takes a list: root, component.
*/}}
{{- define "sluice.usesAws" -}}
{{- $its := (index . 0).Values }}
{{- $login := include "sluice.login" . | fromYaml }}
{{- $sqs := and $its.broker.url (has (index . 1) (list "service" "worker")) }}
{{- if or $sqs (eq $its.storage.type "dynamodb") $login.iamAuth $login.secretArn }}true{{ end }}
{{- end }}

{{/*
DynamoDB is AWS. Takes a list: root, component.
*/}}
{{- define "sluice.egressToStore" -}}
{{- $its := (index . 0).Values }}
{{- $login := include "sluice.login" . | fromYaml }}
{{- with $its.networkPolicy }}
{{- if and (eq $its.storage.type "postgresql") (not $its.database.embedded) }}
{{- $port := ternary .database.port $its.database.port (empty $login.host) }}
{{- include "sluice.flow" (list "to" .database.to (list "TCP" $port)) }}
{{- end }}
{{- if has $its.storage.type (list "mongodb" "influxdb") }}
{{- with get . $its.storage.type }}
{{- include "sluice.flow" (concat (list "to" .to) (include "sluice.tcp" .ports | fromYamlArray)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A policy is about the port of the pod, not that of the Service: vCluster's DNS listens on 1053, OpenShift's on 5353, Gardener's on 8053. */}}
{{- define "sluice.egressToNames" -}}
{{- $ports := list }}
{{- range $port := list 53 1053 5353 8053 }}
{{- $ports = concat $ports (list (list "UDP" $port) (list "TCP" $port)) }}
{{- end }}
{{- include "sluice.flow" (concat (list "to" .dns.to) $ports) }}
{{- end }}

{{/*
The agent of EKS Pod Identity on the pod's own node (EKS user guide, "Understand how EKS Pod Identity works").
*/}}
{{- define "sluice.egressToPodIdentity" -}}
{{- $agent := list (dict "ipBlock" (dict "cidr" "169.254.170.23/32")) (dict "ipBlock" (dict "cidr" "fd00:ec2::23/128")) }}
{{- include "sluice.flow" (list "to" $agent (list "TCP" 80)) }}
{{- end }}

{{- define "sluice.egressOfTest" -}}
{{- $service := include "sluice.selectorLabels" . | fromYaml }}
{{- include "sluice.egressToNames" .Values.networkPolicy }}
{{- include "sluice.flow" (list "to" (list (dict "podSelector" (dict "matchLabels" $service))) (list "TCP" 8080)) }}
{{- end }}

{{/*
A NetworkPolicy that denies what no rule allows. Takes a list: root, component, ingress rules, egress rules, both as text. The
user's own rules are for every pod: a mesh needs them for each.
*/}}
{{- define "sluice.networkPolicy" -}}
{{- $root := index . 0 }}
{{- $selected := list $root (index . 1) }}
{{- $more := $root.Values.networkPolicy -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "sluice.fullname" $root }}-{{ index . 1 }}
  namespace: {{ $root.Release.Namespace | quote }}
  labels:
    {{- include "sluice.labelsOf" $selected | nindent 4 }}
  annotations:
    {{- include "sluice.wave" "-2" | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "sluice.selectorLabelsOf" $selected | nindent 6 }}
  policyTypes: [Ingress, Egress]
  {{- with concat (index . 2 | fromYamlArray) $more.extraIngress }}
  ingress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat (index . 3 | fromYamlArray) $more.extraEgress }}
  egress:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
