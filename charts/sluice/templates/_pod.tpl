{{/*
What every pod of the chart says of itself; Pod Security "restricted" and more.
Only the operator speaks to the Kubernetes API, with a volume of its own. EKS mounts its own token for IAM.
*/}}
{{- define "sluice.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- if not .Values.hostUsers }}
hostUsers: false
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with include "sluice.nodeSelector" . | fromYaml }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  {{- /* Else the kubelet makes PostgreSQL's folder writable for the group at its second start, and PostgreSQL refuses it. */}}
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/*
Only to nodes that can run the image: on another one its containers would fail again and again ("exec format error").
*/}}
{{- define "sluice.nodeSelector" -}}
{{- $its := .Values.image.architectures }}
{{- toYaml (merge (deepCopy .Values.nodeSelector) (ternary (dict "kubernetes.io/arch" (first $its)) dict (eq (len $its) 1))) }}
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
    name: {{ index . 1 }}
    items:
      - key: {{ index . 2 }}
        path: {{ index . 3 }}
    optional: true
{{- end }}
