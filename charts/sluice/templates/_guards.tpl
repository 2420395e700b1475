{{/*
Values that are each right and together wrong. All are reported at once, each with its numbers and what to change.
*/}}
{{- define "sluice.guard" -}}
{{- $found := include "sluice.wrongParts" . }}
{{- if include "sluice.serves" . }}
{{- $found = print $found (include "sluice.wrongSwitches" .) (include "sluice.wrongStorage" .) (include "sluice.wrongTimes" .) }}
{{- if include "sluice.postgresql" . }}
{{- $found = print $found (include "sluice.wrongDatabase" .) (include "sluice.wrongConnections" .) }}
{{- end }}
{{- $found = print $found (include "sluice.wrongNumbers" .) (include "sluice.wrongMemory" .) (include "sluice.wrongPull" .) (include "sluice.wrongQueue" .) }}
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
{{- $name := include "sluice.fullname" $root }}
{{- if not (regexMatch "^[a-z]([a-z0-9-]*[a-z0-9])?$" $name) }}
- objects would be called {{ $name }}, and Kubernetes takes no Service of that name; set fullnameOverride to small letters, digits and hyphens, a letter first
{{- end }}
{{- range $where, $its := dict "nodeSelector" . "operator.nodeSelector" .operator "migration.nodeSelector" .migration "pull.nodeSelector" .pull "worker.nodeSelector" .worker }}
{{- $arch := get $its.nodeSelector "kubernetes.io/arch" }}
{{- if and $arch (not (has $arch $root.Values.image.architectures)) }}
- {{ $where }} kubernetes.io/arch {{ $arch }} is not among image.architectures {{ join " " $root.Values.image.architectures }}: no node could run the image; build it for {{ $arch }} too, or choose other nodes
{{- end }}
{{- end }}
{{- range .extraVolumes }}
{{- if has .name (list "tmp" "shared-memory" "keys" "keyset" "data" "database" "token" "sources" "headers" "broker" "redis") }}
- extraVolumes has {{ .name }}, which is the chart's own; choose another name
{{- end }}
{{- end }}
{{- if and (ne .service.type "LoadBalancer") (or .service.loadBalancerClass .service.loadBalancerSourceRanges) }}
- service.loadBalancerClass and service.loadBalancerSourceRanges need service.type LoadBalancer; set it, or leave them empty
{{- end }}
{{- if and (eq .service.type "ClusterIP") (eq (int .service.port) 8081) }}
- service.port is 8081, which is the admin port of the same Service; choose another one
{{- end }}
{{- if and (eq .service.type "ClusterIP") .service.externalTrafficPolicy }}
- service.externalTrafficPolicy needs service.type LoadBalancer or NodePort; set one, or leave it empty
{{- end }}
{{- if and .operator.only (not .operator.enabled) }}
- operator.only without operator.enabled makes nothing at all; set both, or neither
{{- end }}
{{- if not (or .operator.enabled .auth.existingSecret .auth.keySet.secretName) }}
- there are no API keys; set operator.enabled, or auth.existingSecret to a Secret with plain keys, or auth.keySet.secretName to one with a key set (`sluice keys keyset`)
{{- end }}
{{- if and (include "sluice.bootstraps" $root) .auth.keySet.secretName }}
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
{{- $own := merge (include "sluice.serviceEnv" $root | fromYaml) (include "sluice.operatorEnv" $root | fromYaml) (include "sluice.pullerEnv" $root | fromYaml) (include "sluice.workerEnv" $root | fromYaml) }}
{{- if or (hasKey $own .name) (regexMatch "^(API_KEYS|DATABASE_|DB_|DYNAMODB_|INFLUXDB_|KEYSET_|MONGODB_|POD_|QUEUE_URL|RABBITMQ_URL|REDIS_URL|STORAGE_TYPE)" .name) }}
- extraEnv sets {{ .name }}, which is the chart's own; use the value that is meant for it
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/*
What somebody asks for and what only acts with something else that is off.
*/}}
{{- define "sluice.wrongSwitches" -}}
{{- with .Values }}
{{- if and .autoscaling.external (not .autoscaling.enabled) }}
- autoscaling.external is a kind of autoscaling.enabled; set both, or neither
{{- end }}
{{- if and .worker.keda.enabled (not .worker.enabled) }}
- worker.keda.enabled scales the pods of worker.enabled; set both, or neither
{{- end }}
{{- if and .migration.indexes (not (include "sluice.migrates" $)) }}
- migration.indexes are added by the Job of the migration, which there is not with {{ ternary "database.embedded" "migration.enabled=false" .database.embedded }}; leave them out and use `sluice index add`
{{- end }}
{{- /* Of this name always, and with the operator's rights. */}}
{{- $made := dict "sluice-operator" "the operator" }}
{{- range $component, $name := include "sluice.accounts" $ | fromYaml }}
{{- with get $made $name }}
- serviceAccount.{{ $component }}.name {{ $name }} is that of {{ . }} too; give each a name of its own, or turn serviceAccount.{{ $component }}.create off
{{- end }}
{{- $_ := set $made $name (printf "serviceAccount.%s" $component) }}
{{- end }}
{{- range $component, $account := .serviceAccount }}
{{- if and $account.annotations (not $account.create) }}
- serviceAccount.{{ $component }}.annotations are for the ServiceAccount that serviceAccount.{{ $component }}.create makes; set both, or annotate yours
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
{{- $user := int $.Values.podSecurityContext.runAsUser }}
{{- if and .embedded (not (has $user (list 0 10001))) }}
- database.embedded needs user 10001, whom the image knows, and podSecurityContext.runAsUser is {{ $user }}: PostgreSQL makes no database for a user without a line in /etc/passwd; leave runAsUser as it is
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
{{- $its := include "sluice.timing" . | fromYaml }}
{{- $request := int $its.requestTimeoutSeconds }}
{{- $graceful := int $its.gracefulTimeoutSeconds }}
{{- $drain := int $its.drainSeconds }}
{{- $preStop := int $its.preStopSeconds }}
{{- $grace := int $its.terminationGracePeriodSeconds }}
{{- $keepAlive := int $its.keepAliveSeconds }}
{{- $heartbeat := int $its.heartbeatTimeoutSeconds }}
{{- $delay := int .Values.timing.loadBalancer.deregistrationDelaySeconds }}
{{- $idle := int .Values.timing.loadBalancer.idleTimeoutSeconds }}
{{- $all := add $preStop $drain $graceful }}
{{- if ge $request $graceful }}
- Increase timing.gracefulTimeoutSeconds {{ $graceful }} to at least {{ add $request 1 }} (must exceed timing.requestTimeoutSeconds {{ $request }}): a worker that stops would cut off requests that are in time
{{- end }}
{{- if and (ne $graceful $delay) (or (ge $delay 2) (int .Values.timing.gracefulTimeoutSeconds)) }}
- Set timing.gracefulTimeoutSeconds {{ $graceful }} and timing.loadBalancer.deregistrationDelaySeconds {{ $delay }} to one number: one of pod and load balancer would give up requests that the other still waits for
{{- end }}
{{- if ge $delay $preStop }}
- Increase timing.preStopSeconds {{ $preStop }} to at least {{ add $delay 1 }} (must exceed timing.loadBalancer.deregistrationDelaySeconds {{ $delay }}): the load balancer would send requests to a pod that is gone
{{- end }}
{{- if ge $all $grace }}
- Increase timing.terminationGracePeriodSeconds {{ $grace }} to at least {{ add $all 1 }} (must exceed timing.preStopSeconds {{ $preStop }} + timing.drainSeconds {{ $drain }} + timing.gracefulTimeoutSeconds {{ $graceful }} = {{ $all }}): the pod would be killed before it is done
{{- end }}
{{- if ge $idle $keepAlive }}
- Increase timing.keepAliveSeconds {{ $keepAlive }} to at least {{ add $idle 1 }} (must exceed timing.loadBalancer.idleTimeoutSeconds {{ $idle }}): the pod would close connections that the load balancer is about to use
{{- end }}
{{- if ge $request $heartbeat }}
- Increase timing.heartbeatTimeoutSeconds {{ $heartbeat }} to at least {{ add $request 1 }} (must exceed timing.requestTimeoutSeconds {{ $request }}): a busy worker would count as dead
{{- end }}
{{- $probe := include "sluice.startupProbe" . | fromYaml }}
{{- $budget := mul (int $probe.periodSeconds) (int $probe.failureThreshold) }}
{{- $start := include "sluice.startSeconds" . | int }}
{{- if ge $start $budget }}
- Increase probes.startup.failureThreshold {{ int $probe.failureThreshold }} to at least {{ add 1 (div $start (int $probe.periodSeconds)) }} (x probes.startup.periodSeconds {{ int $probe.periodSeconds }} = {{ $budget }} must exceed timing.secretWaitSeconds {{ int $its.secretWaitSeconds }}{{ if .Values.database.embedded }} + timing.terminationGracePeriodSeconds {{ $grace }} of the pod before{{ end }} + 10 to start = {{ $start }}): a pod that waits would be killed
{{- end }}
{{- $ready := add $budget (int .Values.rollout.minReadySeconds) }}
{{- $progress := int .Values.rollout.progressDeadlineSeconds }}
{{- if ge $ready $progress }}
- Increase rollout.progressDeadlineSeconds {{ $progress }} to at least {{ add $ready 1 }} (must exceed probes.startup.periodSeconds x failureThreshold {{ $budget }} + rollout.minReadySeconds {{ int .Values.rollout.minReadySeconds }} = {{ $ready }}): a rollout would count as failed while its pod may still start
{{- end }}
{{- range $name, $its := .Values.probes }}
{{- /* A second is the least of both. */}}
{{- if ge (int $its.timeoutSeconds) (max 2 (int $its.periodSeconds) | int) }}
- Increase probes.{{ $name }}.periodSeconds {{ int $its.periodSeconds }} to at least {{ add 1 (int $its.timeoutSeconds) }} (must exceed probes.{{ $name }}.timeoutSeconds {{ int $its.timeoutSeconds }}): a try would last until the next one
{{- end }}
{{- end }}
{{- $live := .Values.probes.liveness }}
{{- $patience := mul (int .Values.probes.readiness.periodSeconds) (int .Values.probes.readiness.failureThreshold) }}
{{- if lt (mul (int $live.periodSeconds) (int $live.failureThreshold)) $patience }}
- Increase probes.liveness.failureThreshold {{ int $live.failureThreshold }} to at least {{ div (add $patience $live.periodSeconds -1) $live.periodSeconds }} (x probes.liveness.periodSeconds {{ int $live.periodSeconds }} must not be below probes.readiness.periodSeconds x failureThreshold = {{ $patience }}): a busy pod would be restarted instead of left alone
{{- end }}
{{- include "sluice.wrongLoadBalancer" . }}
{{- end }}

{{/*
What an AWS load balancer is set to by annotations has to be what the pods reckon with: by itself it waits 300 s for a target that
leaves, and calls one healthy after a few checks. Spaces between the items of a list are allowed, as its controller does.
*/}}
{{- define "sluice.wrongLoadBalancer" -}}
{{- $balancer := include "sluice.awsLoadBalancer" . | fromYaml }}
{{- with $balancer }}
{{- $its := dict }}
{{- range $name, $text := (get $.Values .values).annotations }}
{{- $_ := set $its (trimPrefix $balancer.prefix $name) (regexReplaceAll "\\s" $text "") }}
{{- end }}
{{- $where := printf "%s.annotations %s" .values .prefix }}
{{- range .numbers }}
{{- $attribute := printf "%s=%d" .attribute (get $.Values.timing.loadBalancer .value | int) }}
{{- if not (has $attribute (get $its .annotation | splitList "," )) }}
- Add {{ $attribute }} to {{ $where }}{{ .annotation }} (must equal timing.loadBalancer.{{ .value }})
{{- end }}
{{- end }}
{{- if ne (get $its .targetType) "ip" }}
- Set {{ $where }}{{ .targetType }} to ip: the load balancer would send to nodes, and not know of the pods behind them
{{- end }}
{{- range $name, $served := .served }}
{{- $asked := get $its $name | default (first $served) }}
{{- if not (has $asked $served) }}
- Set {{ $where }}{{ $name }} {{ $asked }} to {{ first $served }}, or leave it out: pods do not answer that, and the load balancer would call none healthy
{{- end }}
{{- end }}
{{- $interval := get $its .interval | default (toString .defaultInterval) | int }}
{{- $count := get $its .count | default (toString .defaultCount) | int }}
{{- $healthy := mul $interval $count }}
{{- $ready := int $.Values.rollout.minReadySeconds }}
{{- if ge $healthy $ready }}
- Increase rollout.minReadySeconds {{ $ready }} to at least {{ add $healthy 1 }} (must exceed {{ .interval }} {{ $interval }} x {{ .count }} {{ $count }} = {{ $healthy }}): in a namespace without readiness gates a rollout would take the pods that the load balancer still sends to
{{- end }}
{{- end }}
{{- end }}

{{/*
The AWS load balancer in front, as YAML: whose values have its annotations, what they are called, what it does by itself; else nothing.
An NLB closes no idle connection that the pod keeps for less than 350 s.
*/}}
{{- define "sluice.awsLoadBalancer" -}}
{{- if and .Values.ingress.enabled (eq .Values.ingress.className "alb") }}
values: ingress
prefix: alb.ingress.kubernetes.io/
targetType: target-type
interval: healthcheck-interval-seconds
defaultInterval: 15
count: healthy-threshold-count
defaultCount: 2
served: {healthcheck-path: [/readiness, /, /health, /liveness], healthcheck-protocol: [HTTP], backend-protocol: [HTTP], backend-protocol-version: [HTTP1]}
numbers:
  - {annotation: target-group-attributes, attribute: deregistration_delay.timeout_seconds, value: deregistrationDelaySeconds}
  - {annotation: load-balancer-attributes, attribute: idle_timeout.timeout_seconds, value: idleTimeoutSeconds}
{{- else if and (eq .Values.service.type "LoadBalancer") (has .Values.service.loadBalancerClass (list "service.k8s.aws/nlb" "eks.amazonaws.com/nlb")) }}
values: service
prefix: service.beta.kubernetes.io/aws-load-balancer-
targetType: nlb-target-type
interval: healthcheck-interval
defaultInterval: 10
count: healthcheck-healthy-threshold
defaultCount: 3
served: {healthcheck-path: [/readiness, /, /health, /liveness], healthcheck-protocol: [tcp, TCP, http, HTTP], backend-protocol: [tcp, TCP]}
numbers:
  - {annotation: target-group-attributes, attribute: deregistration_delay.timeout_seconds, value: deregistrationDelaySeconds}
{{- end }}
{{- end }}

{{/*
A budget below the fewest pods, and not fewer at most than at least.
*/}}
{{- define "sluice.wrongNumbers" -}}
{{- $scale := .Values.autoscaling }}
{{- $fewest := include "sluice.fewest" . | int }}
{{- $most := include "sluice.most" . | int }}
{{- if lt $most $fewest }}
- Increase autoscaling.maxReplicas {{ $most }} to at least {{ $fewest }} (must not be below autoscaling.minReplicas {{ $fewest }})
{{- end }}
{{- $away := int .Values.podDisruptionBudget.maxUnavailable }}
{{- if and (include "sluice.budgets" .) (gt $fewest 1) (ge $away $fewest) }}
- Increase {{ ternary "autoscaling.minReplicas" "replicaCount" $scale.enabled }} {{ $fewest }} to at least {{ add $away 1 }} (must exceed podDisruptionBudget.maxUnavailable {{ $away }}): a drain could take every pod at once
{{- end }}
{{- end }}

{{/*
Connections for the most pods: terminating pods hold theirs for a while, so a rollout has twice as many.
*/}}
{{- define "sluice.wrongConnections" -}}
{{- $most := include "sluice.most" . | int }}
{{- $workers := int .Values.config.workers }}
{{- $pool := include "sluice.poolSize" . | int }}
{{- $server := int .Values.database.maxConnections }}
{{- $others := include "sluice.otherConnections" . | int }}
{{- $surge := div (add $most 3) 4 }}
{{- $needed := add (mul (include "sluice.connectedPods" . | int) (add (mul $workers $pool) 1)) $others }}
{{- $usable := div (mul $server 8) 10 }}
{{- if gt $needed $usable }}
- Increase database.maxConnections {{ $server }} to at least {{ div (add (mul $needed 10) 7) 8 }}, here and on the server (80 % of it = {{ $usable }} must not be below (2 x {{ $most }} pods + {{ $surge }} surge) x (config.workers {{ $workers }} x config.poolSize {{ $pool }} + 1) + 2 of the migration{{ if include "sluice.pulls" . }} + 4 x (pull.replicas {{ int .Values.pull.replicas }} + 1){{ end }}{{ if include "sluice.works" . }} + 2 x ({{ include "sluice.mostWorkers" . }} workers + 1){{ end }} = {{ $needed }}), or run fewer pods, or lower config.workers or config.poolSize
{{- end }}
{{- end }}

{{/*
No worker may be killed while it parses (_derived.tpl has what was measured).
*/}}
{{- define "sluice.wrongMemory" -}}
{{- $bodies := include "sluice.bodies" . | fromYaml }}
{{- $inflated := int64 $bodies.maxInflatedBytes }}
{{- $inflight := int64 $bodies.maxInflightBytes }}
{{- if lt $inflight 2097152 }}
- Increase config.limits.maxInflightBytes {{ $inflight }} to at least 2097152 (must exceed what a stream of the largest events holds)
{{- end }}
{{- if gt $inflated $inflight }}
- Increase config.limits.maxInflightBytes {{ $inflight }} to at least {{ $inflated }} (must not be below config.limits.maxInflatedBytes {{ $inflated }}): the largest bodies would be answered 503 for ever
{{- end }}
{{- $body := int64 $bodies.maxBodyBytes }}
{{- if gt $body $inflated }}
- Increase config.limits.maxInflatedBytes {{ $inflated }} to at least {{ $body }} (must not be below config.limits.maxBodyBytes {{ $body }}): larger bodies would be answered 413
{{- end }}
{{- $workers := int .Values.config.workers }}
{{- $held := div (add $inflight 1048575) 1048576 }}
{{- $base := include "sluice.memoryBase" . | int }}
{{- $needed := add $base (mul $workers 13 $held) }}
{{- $limit := .Values.resources.limits.memory }}
{{- if gt $needed (include "sluice.mebibytes" $limit | int64) }}
- Increase resources.limits.memory {{ $limit }} to at least {{ $needed }}Mi (must not be below {{ sub $base (mul 40 $workers) }}Mi + config.workers {{ $workers }} x (40Mi + 13 x config.limits.maxInflightBytes {{ $held }}Mi) = {{ $needed }}Mi), or lower one of these: workers that parse large bodies would be killed
{{- end }}
{{- end }}
