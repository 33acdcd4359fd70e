{{- define "pointsman.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "pointsman.selector" -}}
app.kubernetes.io/name: pointsman
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- define "pointsman.labels" -}}
app.kubernetes.io/name: pointsman
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "pointsman.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* Where commands reach the admin API. */ -}}
{{- define "pointsman.admin" -}}
{{ ternary "https" "http" (not (empty .Values.tls.adminSecret)) }}://{{ include "pointsman.name" . }}-admin.{{ .Release.Namespace }}.svc:8081
{{- end -}}

{{- define "pointsman.single" -}}
{{- if and (eq (int .Values.replicas) 1) (not .Values.autoscaling.enabled) (eq .Values.layout "central") -}}true{{- end -}}
{{- end -}}

{{- /* What would lose kills, or let everybody in, is refused here; the rest by the gateway, with its own words. */ -}}
{{- define "pointsman.check" -}}
{{- $config := .Values.config -}}
{{- if not $config.endpoints }}{{ fail "config.endpoints: there is none; write pointsman.yaml's content under `config`" }}{{ end -}}
{{- range $key := list "listen" "admin" "drain" "admin_tls" "tls" }}
{{- if hasKey $config $key }}{{ fail (printf "config.%s: leave it out: the chart writes it (see `drainSeconds`, `tls`)" $key) }}{{ end -}}
{{- end -}}
{{- $state := $config.state | default dict -}}
{{- $database := $state.database | default "" -}}
{{- if hasPrefix "postgresql://" $database -}}
{{- if .Values.persistence.enabled }}{{ fail "persistence.enabled: the volume is for SQLite; state.database is a PostgreSQL" }}{{ end -}}
{{- else if not .Values.persistence.enabled -}}
{{- fail (printf "config.state.database: %q would be lost with its pod, and every kill with it: use postgresql://…, or `persistence.enabled` with one replica" $database) -}}
{{- else if not (include "pointsman.single" .) -}}
{{- fail "replicas: SQLite belongs to one gateway: use `replicas: 1` in the central layout without autoscaling, or postgresql://…" -}}
{{- else if not (hasPrefix "sqlite:////var/lib/pointsman/" $database) -}}
{{- fail (printf "config.state.database: %q is not on the volume: write sqlite:////var/lib/pointsman/pointsman.db" $database) -}}
{{- end -}}
{{- if and (not $state.redis) (not (include "pointsman.single" .)) -}}
{{- fail "config.state.redis: several gateways are one by Redis: write redis://… or rediss://… (docs/replicas.md)" -}}
{{- end -}}
{{- $auth := $config.auth | default dict -}}
{{- if $auth.tokens_file }}{{ fail "config.auth.tokens_file: leave it out: the chart writes it (see `auth.tokensSecret`)" }}{{ end -}}
{{- if not (or .Values.auth.tokensSecret.name $auth.oidc) -}}
{{- fail "auth.tokensSecret.name: the admin port is reachable in the cluster: name the Secret with the file of `pointsman token create`, or write config.auth.oidc" -}}
{{- end -}}
{{- if not (or .Values.tls.adminSecret $auth.url) -}}
{{- fail "tls.adminSecret: tokens would travel in the clear: name a kubernetes.io/tls Secret for the admin port, or write config.auth.url, the address of the proxy that serves TLS for it" -}}
{{- end -}}
{{- if and .Values.flags (not (eq (($config.flags | default dict).source | default "file") "file")) -}}
{{- fail "flags: there is content for flags.json, and config.flags.source is another" -}}
{{- end -}}
{{- if and (eq .Values.layout "sidecar") (not .Values.sidecar.containers) -}}
{{- fail "sidecar.containers: there is none; the gateway is beside at least one container" -}}
{{- end -}}
{{- if and .Values.drills (not (include "pointsman.single" .)) -}}
{{- fail "drills: jobs ask any replica, and only the one that leads may begin a drill: with several replicas write config.endpoints.NAME.drills.every" -}}
{{- end -}}
{{- if and .Values.drills (not .Values.drillJob.tokenSecret.name) -}}
{{- fail "drillJob.tokenSecret.name: jobs need a token that may run drills" -}}
{{- end -}}
{{- if and .Values.serviceMonitor.enabled (not .Values.serviceMonitor.tokenSecret.name) (ne ($auth.metrics | default "viewer") "open") -}}
{{- fail "serviceMonitor.tokenSecret.name: Prometheus needs a viewer's token, or config.auth.metrics: open" -}}
{{- end -}}
{{- end -}}

{{- /* pointsman.yaml as it is mounted. */ -}}
{{- define "pointsman.config" -}}
{{- $config := deepCopy .Values.config -}}
{{- $inside := and (eq .Values.layout "sidecar") (eq .Values.sidecar.beside "application") -}}
{{- $_ := set $config "listen" (ternary "127.0.0.1:8080" "0.0.0.0:8080" $inside) -}}
{{- $_ := set $config "admin" "0.0.0.0:8081" -}}
{{- $_ := set $config "drain" (printf "%ds" (int .Values.drainSeconds)) -}}
{{- if .Values.auth.tokensSecret.name -}}
{{- $_ := set $config "auth" (merge (dict "tokens_file" (printf "/etc/pointsman/tokens/%s" .Values.auth.tokensSecret.key)) ($config.auth | default dict)) -}}
{{- end -}}
{{- if .Values.tls.secret -}}
{{- $_ := set $config "tls" (list (dict "certificate" "/etc/pointsman/tls/tls.crt" "key" "/etc/pointsman/tls/tls.key")) -}}
{{- end -}}
{{- if .Values.tls.adminSecret -}}
{{- $_ := set $config "admin_tls" (dict "certificate" "/etc/pointsman/admin-tls/tls.crt" "key" "/etc/pointsman/admin-tls/tls.key") -}}
{{- end -}}
{{- if .Values.audit.keySecret.name -}}
{{- $_ := set $config "audit" (merge (dict "key" (printf "/var/run/pointsman/%s" .Values.audit.keySecret.key)) ($config.audit | default dict)) -}}
{{- end -}}
{{- if .Values.flags -}}
{{- $_ := set $config "flags" (merge (dict "path" "/etc/pointsman/config/flags.json") ($config.flags | default dict)) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{- define "pointsman.container.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "pointsman.pod.security" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- /* Who drains for how long: a pod is killed only after the slowest of its ends. */ -}}
{{- define "pointsman.grace" -}}
{{- add (int .Values.preStopSeconds) (int .Values.drainSeconds) 15 -}}
{{- end -}}

{{- /* A key that its group may read is refused, and what a pod mounts for another user than root is: so it is copied. */ -}}
{{- define "pointsman.init" -}}
{{- if .Values.audit.keySecret.name }}
- name: key
  image: {{ include "pointsman.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - python
    - -c
    - import os, sys; _, given, kept = sys.argv; os.path.exists(kept) and os.unlink(kept); os.write(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), open(given, "rb").read())
    - /etc/pointsman/audit/{{ .Values.audit.keySecret.key }}
    - /var/run/pointsman/{{ .Values.audit.keySecret.key }}
  resources:
    requests: {cpu: 10m, memory: 16Mi}
    limits: {memory: 64Mi}
  securityContext: {{- include "pointsman.container.security" . | nindent 4 }}
  volumeMounts:
    - {name: audit, mountPath: /etc/pointsman/audit, readOnly: true}
    - {name: keys, mountPath: /var/run/pointsman}
{{- end }}
{{- end -}}

{{- /* A model server that stands behind the gateway in its pod must outlive it. */ -}}
{{- define "pointsman.beside" -}}
{{- $outlives := dict "lifecycle" (dict "preStop" (dict "sleep" (dict "seconds" (add (int .Values.preStopSeconds) (int .Values.drainSeconds) 10)))) -}}
{{- range .Values.sidecar.containers }}
{{- if eq $.Values.sidecar.beside "model" }}
- {{- toYaml (merge (deepCopy .) $outlives) | nindent 2 }}
{{- else }}
- {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}
