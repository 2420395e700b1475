{{/*
What every pod of the chart says of itself; Pod Security "restricted" and more.
Only the operator speaks to the Kubernetes API, with a volume of its own. EKS mounts its own token for IAM.
Takes a list: root, values of the component, whose scheduling goes before that of all pods.
*/}}
{{- define "sluice.pod" -}}
{{- $root := index . 0 }}
{{- $its := index . 1 }}
{{- with $root.Values }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- if not .hostUsers }}
hostUsers: false
{{- end }}
{{- with .imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $its.priorityClassName | default .priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
nodeSelector:
  {{- include "sluice.nodeSelector" (list $root $its) | nindent 2 }}
{{- with $its.tolerations | default .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $its.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .podSecurityContext }}
securityContext:
  runAsNonRoot: true
  {{- range $field := list "runAsUser" "runAsGroup" "fsGroup" }}
  {{- with int64 (get $root.Values.podSecurityContext $field) }}
  {{ $field }}: {{ . }}
  {{- end }}
  {{- end }}
  {{- /* Else the kubelet makes PostgreSQL's folder writable for the group at its second start, and PostgreSQL refuses it. */}}
  fsGroupChangePolicy: OnRootMismatch
  {{- with .supplementalGroups }}
  supplementalGroups: {{ toJson . }}
  {{- end }}
  {{- with .seLinuxOptions }}
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  seccompProfile:
    {{- if .seccompProfile }}
    type: Localhost
    localhostProfile: {{ .seccompProfile | quote }}
    {{- else }}
    type: RuntimeDefault
    {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
Only to nodes that can run the image, also where some are of Windows: on another one its containers would fail again and again
("no match for platform", "exec format error"). Takes a list: root, values of the component.
*/}}
{{- define "sluice.nodeSelector" -}}
{{- $root := index . 0 }}
{{- $built := $root.Values.image.architectures }}
{{- $chosen := (index . 1).nodeSelector | default $root.Values.nodeSelector | deepCopy }}
{{- toYaml (merge $chosen (dict "kubernetes.io/os" "linux") (ternary (dict "kubernetes.io/arch" (first $built)) dict (eq (len $built) 1))) }}
{{- end }}

{{/*
Over zones and nodes. Takes a list: root, component.
*/}}
{{- define "sluice.topologySpread" -}}
{{- $labels := include "sluice.selectorLabelsOf" . }}
{{- with (index . 0).Values.topologySpread }}
{{- $when := .whenUnsatisfiable }}
{{- if .enabled }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ $key }}
    maxSkew: 1
    whenUnsatisfiable: {{ $when }}
    # Without it the pods of the former version distort where the new ones go.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- $labels | nindent 8 }}
  {{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.container" -}}
image: {{ include "sluice.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  capabilities:
    drop: [ALL]
  privileged: false
  readOnlyRootFilesystem: true
{{- end }}

{{/*
Takes the user's own, which win. The cluster autoscaler removes no node on which a pod has an emptyDir, unless it is named so; nothing
in these has to stay.
*/}}
{{- define "sluice.podAnnotations" -}}
{{- toYaml (merge (dict) . (dict "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" "tmp,shared-memory")) }}
{{- end }}

{{/*
What the user adds to each pod but those of tests, after what the chart has there. Takes a list: items, by how much they are indented.
*/}}
{{- define "sluice.more" -}}
{{- with index . 0 }}
{{- toYaml . | nindent (index $ 1) }}
{{- end }}
{{- end }}

{{/*
Takes a list: root, by how much it is indented.
*/}}
{{- define "sluice.envFrom" -}}
{{- with (index . 0).Values.extraEnvFrom }}
{{- toYaml (dict "envFrom" .) | nindent (index $ 1) }}
{{- end }}
{{- end }}

{{- define "sluice.noLimitOfCPU" -}}
checkov.io/skip1: CKV_K8S_11=A CPU limit throttles a pod that has work while the node is idle
{{- end }}

{{/*
Environment variables from a mapping of text, without those that are empty.
*/}}
{{- define "sluice.env" -}}
{{- range $name, $text := . }}
{{- if $text }}
- name: {{ $name }}
  value: {{ $text | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/*
A source of a projected volume. Optional: the pod starts, waits for it and tells so in its log, which a kubelet that waits does not.
Takes a list: kind (secret, configMap), name, key, path.
*/}}
{{- define "sluice.projected" -}}
- {{ index . 0 }}:
    name: {{ index . 1 | quote }}
    items:
      - key: {{ index . 2 | quote }}
        path: {{ index . 3 }}
    optional: true
{{- end }}
