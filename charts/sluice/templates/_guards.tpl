{{/*
Values that are each right and together wrong. All are told at once, each with its numbers and the mend.
*/}}
{{- define "sluice.guard" -}}
{{- $found := include "sluice.wrongParts" . }}
{{- if include "sluice.serves" . }}
{{- $found = print $found (include "sluice.wrongDatabase" .) (include "sluice.wrongTimes" .) }}
{{- $found = print $found (include "sluice.wrongNumbers" .) (include "sluice.wrongMemory" .) (include "sluice.wrongPull" .) }}
{{- end }}
{{- with trim $found }}
{{- $words := printf "these values cannot be used:\n%s" . }}
{{- fail $words }}
{{- /* `helm lint` goes on after a fail, and would find nothing; a template of no such name stops it too, with the words. */}}
{{- include $words $ }}
{{- end }}
{{- end }}

{{- define "sluice.wrongParts" -}}
{{- $root := . }}
{{- with .Values }}
{{- if not (or .image.digest .image.allowTag) }}
- image.digest is not set; set it, or image.allowTag=true to take image.tag, which may be another image tomorrow
{{- end }}
{{- $arch := get .nodeSelector "kubernetes.io/arch" }}
{{- if and $arch (not (has $arch .image.architectures)) }}
- nodeSelector kubernetes.io/arch {{ $arch }} is not among image.architectures {{ join " " .image.architectures }}: no node could run the image; build it for {{ $arch }} too, or choose other nodes
{{- end }}
{{- if and .operator.only (not .operator.enabled) }}
- operator.only without operator.enabled makes nothing at all; set both, or neither
{{- end }}
{{- if not (or .operator.enabled .auth.existingSecret .auth.keySet.secretName) }}
- there are no API keys; set operator.enabled, or auth.existingSecret to a Secret with plain keys, or auth.keySet.secretName to one with a key set (`sluice keys keyset`)
{{- end }}
{{- if and .operator.enabled .operator.bootstrap.enabled .auth.keySet.secretName }}
- auth.keySet.secretName names a key set of somebody else, and operator.bootstrap.enabled would make another one; leave the former empty or turn the latter off
{{- end }}
{{- if regexMatch "-v[0-9]+$" .operator.bootstrap.apiKey.name }}
- operator.bootstrap.apiKey.name {{ .operator.bootstrap.apiKey.name }} ends as the Secrets of versions do (-v and a number); choose another
{{- end }}
{{- if and .ingress.enabled .httpRoute.enabled }}
- ingress.enabled and httpRoute.enabled are both true; keep one
{{- end }}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) }}
- httpRoute.enabled needs httpRoute.parentRefs; name the Gateway that carries it
{{- end }}
{{- if and .monitoring.prometheusRule.enabled (not .monitoring.prometheusRule.runbookBaseUrl) }}
- monitoring.prometheusRule.enabled needs monitoring.prometheusRule.runbookBaseUrl; set it to where the runbooks are published
{{- end }}
{{- range .extraEnv }}
{{- $own := merge (include "sluice.serviceEnv" $root | fromYaml) (include "sluice.operatorEnv" $root | fromYaml) (include "sluice.pullerEnv" $root | fromYaml) }}
{{- if or (hasKey $own .name) (regexMatch "^(API_KEYS|DATABASE_|DB_|KEYSET_|POD_)" .name) }}
- extraEnv sets {{ .name }}, which is the chart's own; use the value that is meant for it
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "sluice.wrongDatabase" -}}
{{- with .Values.database }}
{{- $url := .url.existingSecret }}
{{- $given := compact (list (ternary "database.embedded" "" .embedded) (ternary "database.url.existingSecret" "" (ne $url "")) (ternary "database.host" "" (ne .host ""))) }}
{{- if not $given }}
- there is no database; set database.url.existingSecret or database.host, or database.embedded=true for a trial
{{- end }}
{{- if gt (len $given) 1 }}
- {{ join " and " $given }} each name a database; keep one
{{- end }}
{{- if and .embedded $.Values.autoscaling.enabled }}
- database.embedded serves from one pod, which autoscaling.enabled would multiply; turn one of them off
{{- end }}
{{- if and .host (not .iamAuth) (not .password.existingSecret) }}
- database.host needs a login; set database.password.existingSecret, or database.iamAuth=true for RDS
{{- end }}
{{- if and .iamAuth .password.existingSecret }}
- database.iamAuth needs no password; remove database.password.existingSecret or turn database.iamAuth off
{{- end }}
{{- if and .iamAuth (not .host) }}
- database.iamAuth needs database.host, for which each token is made
{{- end }}
{{- if and (or .iamAuth .owner.secretArn) (not .region) }}
- database.iamAuth and database.owner.secretArn need database.region
{{- end }}
{{- $owners := compact (list .owner.secretArn .owner.url.existingSecret .owner.password.existingSecret) }}
{{- if gt (len $owners) 1 }}
- database.owner names {{ len $owners }} logins; keep one of secretArn, url.existingSecret and password.existingSecret
{{- end }}
{{- if and .owner.password.existingSecret (not .host) }}
- database.owner.password.existingSecret needs database.host; with a URL give database.owner.url.existingSecret
{{- end }}
{{- if and .host (eq .user "sluice_app") (not $owners) $.Values.migration.enabled }}
- database.user is sluice_app, which may not change the schema, and the migration has no other login; set database.owner, or database.user to the schema's owner, or migration.enabled=false and migrate elsewhere
{{- end }}
{{- end }}
{{- end }}

{{/*
Zero downtime as inequalities: request deadline < graceful timeout = deregistration delay < preStop;
preStop + drain + graceful timeout < termination grace; keep-alive > the load balancer's idle timeout.
*/}}
{{- define "sluice.wrongTimes" -}}
{{- with .Values.timing }}
{{- $request := int .requestTimeoutSeconds }}
{{- $graceful := int .gracefulTimeoutSeconds }}
{{- $drain := int .drainSeconds }}
{{- $preStop := int .preStopSeconds }}
{{- $grace := int .terminationGracePeriodSeconds }}
{{- $keepAlive := int .keepAliveSeconds }}
{{- $heartbeat := int .heartbeatTimeoutSeconds }}
{{- $wait := int .secretWaitSeconds }}
{{- $delay := int .loadBalancer.deregistrationDelaySeconds }}
{{- $idle := int .loadBalancer.idleTimeoutSeconds }}
{{- $all := add $preStop $drain $graceful }}
{{- if ge $request $graceful }}
- timing.requestTimeoutSeconds {{ $request }} < timing.gracefulTimeoutSeconds {{ $graceful }} does not hold: a worker that stops would cut off requests that are in time; raise the latter
{{- end }}
{{- if ne $graceful $delay }}
- timing.gracefulTimeoutSeconds {{ $graceful }} = timing.loadBalancer.deregistrationDelaySeconds {{ $delay }} does not hold: one of pod and load balancer would give up requests that the other still waits for; make them equal
{{- end }}
{{- if ge $delay $preStop }}
- timing.loadBalancer.deregistrationDelaySeconds {{ $delay }} < timing.preStopSeconds {{ $preStop }} does not hold: the load balancer would send requests to a pod that is gone; raise the latter
{{- end }}
{{- if ge $all $grace }}
- timing.preStopSeconds {{ $preStop }} + timing.drainSeconds {{ $drain }} + timing.gracefulTimeoutSeconds {{ $graceful }} = {{ $all }} < timing.terminationGracePeriodSeconds {{ $grace }} does not hold: the pod would be killed before it is done; raise the latter to {{ add $all 10 }}
{{- end }}
{{- if ge $idle $keepAlive }}
- timing.loadBalancer.idleTimeoutSeconds {{ $idle }} < timing.keepAliveSeconds {{ $keepAlive }} does not hold: the pod would close connections that the load balancer is about to use; raise the latter
{{- end }}
{{- if ge $request $heartbeat }}
- timing.requestTimeoutSeconds {{ $request }} < timing.heartbeatTimeoutSeconds {{ $heartbeat }} does not hold: a busy worker would count as dead; raise the latter
{{- end }}
{{- with $.Values.probes.startup }}
{{- $budget := mul (int .periodSeconds) (int .failureThreshold) }}
{{- $data := ternary $grace 0 $.Values.database.embedded }}
{{- if ge (add $wait $data 10) $budget }}
- timing.secretWaitSeconds {{ $wait }}{{ if $data }} + timing.terminationGracePeriodSeconds {{ $data }} of the pod before{{ end }} + 10 to start < probes.startup.periodSeconds {{ int .periodSeconds }} x probes.startup.failureThreshold {{ int .failureThreshold }} = {{ $budget }} does not hold: a pod that waits would be killed; raise probes.startup.failureThreshold
{{- end }}
{{- $ready := add $budget (int $.Values.rollout.minReadySeconds) }}
{{- $progress := int $.Values.rollout.progressDeadlineSeconds }}
{{- if ge $ready $progress }}
- probes.startup.periodSeconds x failureThreshold {{ $budget }} + rollout.minReadySeconds {{ int $.Values.rollout.minReadySeconds }} = {{ $ready }} < rollout.progressDeadlineSeconds {{ $progress }} does not hold: a rollout would count as failed while its pod may still start; raise the latter
{{- end }}
{{- end }}
{{- range $name, $probe := $.Values.probes }}
{{- if gt (int .timeoutSeconds) (int .periodSeconds) }}
- probes.{{ $name }}.timeoutSeconds {{ int .timeoutSeconds }} <= probes.{{ $name }}.periodSeconds {{ int .periodSeconds }} does not hold: a try would outlast the next one; lower the former
{{- end }}
{{- end }}
{{- end }}
{{- include "sluice.wrongAlb" . }}
{{- end }}

{{/*
What an AWS load balancer is set to by annotations has to be what the pods reckon with: by itself it waits 300 s for a target that
leaves, and calls one healthy after two checks, 15 s apart. Spaces between the items of a list are allowed, as its controller does.
*/}}
{{- define "sluice.wrongAlb" -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.className "alb") }}
{{- $its := dict }}
{{- range $name, $text := .Values.ingress.annotations }}
{{- $_ := set $its (trimPrefix "alb.ingress.kubernetes.io/" $name) (regexReplaceAll "\\s" $text "") }}
{{- end }}
{{- range $number := list (list "target-group-attributes" "deregistration_delay.timeout_seconds" "deregistrationDelaySeconds") (list "load-balancer-attributes" "idle_timeout.timeout_seconds" "idleTimeoutSeconds") }}
{{- $attribute := printf "%s=%d" (index $number 1) (get $.Values.timing.loadBalancer (last $number) | int) }}
{{- if not (has $attribute (get $its (first $number) | splitList "," )) }}
- Add {{ $attribute }} to ingress.annotations alb.ingress.kubernetes.io/{{ first $number }} (must equal timing.loadBalancer.{{ last $number }})
{{- end }}
{{- end }}
{{- if ne (get $its "target-type") "ip" }}
- Set ingress.annotations alb.ingress.kubernetes.io/target-type to ip: the load balancer would send to nodes, and not know of the pods behind them
{{- end }}
{{- $interval := get $its "healthcheck-interval-seconds" | default "15" | int }}
{{- $count := get $its "healthy-threshold-count" | default "2" | int }}
{{- $healthy := mul $interval $count }}
{{- $ready := int .Values.rollout.minReadySeconds }}
{{- if ge $healthy $ready }}
- Increase rollout.minReadySeconds {{ $ready }} to at least {{ add $healthy 1 }} (must exceed healthcheck-interval-seconds {{ $interval }} x healthy-threshold-count {{ $count }} = {{ $healthy }}): in a namespace without readiness gates a rollout would take the pods that the load balancer still sends to
{{- end }}
{{- end }}
{{- end }}

{{/*
A budget below the fewest pods, and connections for the most: terminating pods hold theirs for a while, so a rollout has twice as many.
*/}}
{{- define "sluice.wrongNumbers" -}}
{{- $scale := .Values.autoscaling }}
{{- $fewest := include "sluice.fewest" . | int }}
{{- $most := include "sluice.most" . | int }}
{{- if lt $most $fewest }}
- autoscaling.minReplicas {{ $fewest }} <= autoscaling.maxReplicas {{ $most }} does not hold
{{- end }}
{{- $away := int .Values.podDisruptionBudget.maxUnavailable }}
{{- if and .Values.podDisruptionBudget.enabled (not .Values.database.embedded) (ge $away $fewest) }}
- podDisruptionBudget.maxUnavailable {{ $away }} < {{ ternary "autoscaling.minReplicas" "replicaCount" $scale.enabled }} {{ $fewest }} does not hold: a drain could take every pod at once; run more pods, or turn podDisruptionBudget.enabled off and accept that
{{- end }}
{{- $surge := div (add $most 3) 4 }}
{{- $workers := int .Values.config.workers }}
{{- $pool := int .Values.config.poolSize }}
{{- $server := int .Values.database.maxConnections }}
{{- /* A puller has 4, and during a rollout there is one more of them. */}}
{{- $pullers := ternary (mul 4 (add (int .Values.pull.replicas) 1)) 0 (eq (include "sluice.pulls" .) "true") }}
{{- $needed := add (mul (add (mul 2 $most) $surge) (add (mul $workers $pool) 1)) 2 $pullers }}
{{- $usable := div (mul $server 8) 10 }}
{{- if gt $needed $usable }}
- database connections: (2 x {{ $most }} pods + {{ $surge }} surge) x (config.workers {{ $workers }} x config.poolSize {{ $pool }} + 1) + 2 for the migration{{ if $pullers }} + 4 x (pull.replicas {{ int .Values.pull.replicas }} + 1){{ end }} = {{ $needed }} <= 80 % of database.maxConnections {{ $server }} = {{ $usable }} does not hold; run fewer pods, lower config.workers or config.poolSize, or raise max_connections of the server and database.maxConnections to {{ div (add (mul $needed 10) 7) 8 }}
{{- end }}
{{- end }}

{{/*
Measured: 40 Mi for a worker, 100 for the rest, 200 for the embedded database, and bodies of many small objects take up to 13 times
their size while they are parsed.
*/}}
{{- define "sluice.wrongMemory" -}}
{{- $inflated := int64 .Values.config.limits.maxInflatedBytes }}
{{- $inflight := int64 .Values.config.limits.maxInflightBytes }}
{{- if gt $inflated $inflight }}
- config.limits.maxInflatedBytes {{ $inflated }} <= config.limits.maxInflightBytes {{ $inflight }} does not hold: the largest bodies would be answered 503 for ever; raise the latter
{{- end }}
{{- $workers := int .Values.config.workers }}
{{- $base := ternary 300 100 .Values.database.embedded }}
{{- $held := div (add $inflight 1048575) 1048576 }}
{{- $needed := add $base (mul $workers (add 40 (mul 13 $held))) }}
{{- $limit := .Values.resources.limits.memory }}
{{- if gt $needed (include "sluice.mebibytes" $limit | int64) }}
- memory: {{ $base }}Mi + config.workers {{ $workers }} x (40Mi + 13 x config.limits.maxInflightBytes {{ $held }}Mi) = {{ $needed }}Mi <= resources.limits.memory {{ $limit }} does not hold: workers that parse large bodies would be killed; raise the latter, or lower one of the former
{{- end }}
{{- end }}

{{/*
A quantity of memory, in Mi or Gi by the schema, as a number of Mi.
*/}}
{{- define "sluice.mebibytes" -}}
{{- mul (trimSuffix "Mi" . | trimSuffix "Gi" | int64) (ternary 1024 1 (hasSuffix "Gi" .)) }}
{{- end }}

{{- define "sluice.fewest" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.minReplicas }}{{ else if .Values.database.embedded }}1{{ else }}{{ .Values.replicaCount }}{{ end }}
{{- end }}

{{- define "sluice.most" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.maxReplicas }}{{ else }}{{ include "sluice.fewest" . }}{{ end }}
{{- end }}
