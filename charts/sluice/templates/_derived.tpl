{{/*
Values of 0 that follow from others. Each is YAML of one mapping; what is set stays as it is, and the guards look at the result.
*/}}

{{/*
The times of a pod, from the two numbers of the load balancer in front.
*/}}
{{- define "sluice.timing" -}}
{{- $its := .Values.timing }}
{{- $delay := int $its.loadBalancer.deregistrationDelaySeconds }}
{{- $graceful := int $its.gracefulTimeoutSeconds | default (max 2 $delay) | int }}
{{- $request := int $its.requestTimeoutSeconds | default (max 1 (div $graceful 2)) | int }}
{{- $preStop := int $its.preStopSeconds | default (add $delay 5) | int }}
{{- $drain := int $its.drainSeconds }}
gracefulTimeoutSeconds: {{ $graceful }}
requestTimeoutSeconds: {{ $request }}
preStopSeconds: {{ $preStop }}
drainSeconds: {{ $drain }}
terminationGracePeriodSeconds: {{ int $its.terminationGracePeriodSeconds | default (add $preStop $drain $graceful 10) }}
keepAliveSeconds: {{ int $its.keepAliveSeconds | default (max 620 (add (int $its.loadBalancer.idleTimeoutSeconds) 15)) }}
heartbeatTimeoutSeconds: {{ int $its.heartbeatTimeoutSeconds | default (add $request 15) }}
secretWaitSeconds: {{ int $its.secretWaitSeconds }}
{{- end }}

{{/*
Seconds that a pod may take to start: it waits for Secrets, with the embedded database for the pod before it too, and then starts.
*/}}
{{- define "sluice.startSeconds" -}}
{{- $timing := include "sluice.timing" . | fromYaml }}
{{- add (int $timing.secretWaitSeconds) (ternary (int $timing.terminationGracePeriodSeconds) 0 .Values.database.embedded) 10 }}
{{- end }}

{{/*
The startup probe allows half as much again.
*/}}
{{- define "sluice.startupProbe" -}}
{{- $its := .Values.probes.startup }}
{{- $period := int $its.periodSeconds }}
{{- $start := include "sluice.startSeconds" . | int }}
periodSeconds: {{ $period }}
timeoutSeconds: {{ int $its.timeoutSeconds }}
failureThreshold: {{ int $its.failureThreshold | default (add 1 (div (sub (div (mul $start 3) 2) 1) $period)) }}
{{- end }}

{{/*
Connections of everything but the service's pods: two of the migration, four of each puller, two of each worker; of these a rollout has
one more.
*/}}
{{- define "sluice.otherConnections" -}}
{{- $pullers := ternary (mul 4 (add (int .Values.pull.replicas) 1)) 0 (eq (include "sluice.pulls" .) "true") }}
{{- $workers := ternary (mul 2 (add (include "sluice.mostWorkers" . | int) 1)) 0 (eq (include "sluice.works" .) "true") }}
{{- add 2 $pullers $workers }}
{{- end }}

{{/*
Pods of the service that hold connections at a time: during a rollout the old ones, the new ones, and those above the number.
*/}}
{{- define "sluice.connectedPods" -}}
{{- $most := include "sluice.most" . | int }}
{{- add (mul 2 $most) (div (add $most 3) 4) }}
{{- end }}

{{/*
Connections of a worker: as many as 80 % of the server's allow for all pods, and never more than it has a use for.
*/}}
{{- define "sluice.poolSize" -}}
{{- $free := sub (div (mul (int .Values.database.maxConnections) 8) 10) (include "sluice.otherConnections" . | int) }}
{{- $pod := div $free (include "sluice.connectedPods" . | int) }}
{{- int .Values.config.poolSize | default (max 1 (min 4 (div (sub $pod 1) (int .Values.config.workers)))) }}
{{- end }}

{{/*
MiB of a pod beside the bodies that it holds. Measured: 40 for a worker, 100 for the rest, 200 for the embedded database.
*/}}
{{- define "sluice.memoryBase" -}}
{{- add (ternary 300 100 .Values.database.embedded) (mul 40 (int .Values.config.workers)) }}
{{- end }}

{{/*
Bytes of bodies, from the limit of memory: parsed, many small objects take up to 13 times their size.
*/}}
{{- define "sluice.bodies" -}}
{{- $its := .Values.config.limits }}
{{- $room := sub (include "sluice.mebibytes" .Values.resources.limits.memory | int) (include "sluice.memoryBase" . | int) }}
{{- $share := max 2 (min 24 (div $room (mul 13 (int .Values.config.workers)))) }}
{{- $inflight := int64 $its.maxInflightBytes | default (mul $share 1048576) | int64 }}
{{- $inflated := int64 $its.maxInflatedBytes | default (min 20971520 $inflight) | int64 }}
maxInflightBytes: {{ $inflight }}
maxInflatedBytes: {{ $inflated }}
maxBodyBytes: {{ int64 $its.maxBodyBytes | default (min 10485760 $inflated) }}
{{- end }}

{{/*
A quantity of memory, by the schema in Mi, Gi, M or G, as a number of whole Mi.
*/}}
{{- define "sluice.mebibytes" -}}
{{- $number := regexFind "^[0-9]+" . | int64 }}
{{- $bytes := get (dict "Mi" 1048576 "Gi" 1073741824 "M" 1000000 "G" 1000000000) (regexFind "[A-Z].*$" .) | int64 }}
{{- div (mul $number $bytes) 1048576 }}
{{- end }}

{{/*
An amount of CPU as a number of thousandths.
*/}}
{{- define "sluice.millicores" -}}
{{- $text := toString . }}
{{- if hasSuffix "m" $text }}{{ trimSuffix "m" $text | int64 }}{{ else }}{{ round (mulf (float64 $text) 1000) 0 | int64 }}{{ end }}
{{- end }}

{{/*
A container's resources. Kubernetes refuses a request above the limit, so a lower limit lowers it. Takes the resources.
*/}}
{{- define "sluice.resources" -}}
{{- $its := deepCopy . }}
{{- range $name, $number := dict "cpu" "sluice.millicores" "memory" "sluice.mebibytes" "ephemeral-storage" "sluice.mebibytes" }}
{{- if and (hasKey $its.requests $name) (hasKey $its.limits $name) }}
{{- if gt (include $number (get $its.requests $name) | int64) (include $number (get $its.limits $name) | int64) }}
{{- $_ := set $its.requests $name (get $its.limits $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $part := list $its.requests $its.limits }}
{{- if hasKey $part "cpu" }}
{{- $_ := set $part "cpu" (toString $part.cpu) }}
{{- end }}
{{- end }}
{{- toYaml $its }}
{{- end }}

{{- define "sluice.fewest" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.minReplicas }}{{ else if .Values.database.embedded }}1{{ else }}{{ .Values.replicaCount }}{{ end }}
{{- end }}

{{- define "sluice.most" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}{{ else }}{{ include "sluice.fewest" . }}{{ end }}
{{- end }}

{{/*
"true", or nothing: of one pod there is none that an eviction could leave. Where an autoscaler may make more, these are kept.
*/}}
{{- define "sluice.budgets" -}}
{{- if and .Values.podDisruptionBudget.enabled (gt (include "sluice.most" . | int) 1) (include "sluice.serves" .) }}true{{ end }}
{{- end }}
