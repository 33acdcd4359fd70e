{{- /* The gateway as a container: the same in both layouts. */ -}}
{{- define "pointsman.container" -}}
{{- $inside := and (eq .Values.layout "sidecar") (eq .Values.sidecar.beside "application") -}}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty .Values.tls.secret)) -}}
name: gateway
image: {{ include "pointsman.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, -c, /etc/pointsman/config/pointsman.yaml]
env:
  - {name: POINTSMAN_ADMIN, value: {{ include "pointsman.admin" . | quote }}}
  {{- if .Values.tls.adminSecret }}
  - {name: POINTSMAN_CA, value: /etc/pointsman/admin-tls/ca.crt}
  {{- end }}
  {{- range $name, $from := .Values.secretEnv }}
  - name: {{ $name }}
    valueFrom: {secretKeyRef: {name: {{ $from.name }}, key: {{ $from.key }}}}
  {{- end }}
ports:
  - {name: http, containerPort: 8080}
  - {name: admin, containerPort: 8081}
{{- if $inside }}
# The data plane listens on the pod's loopback address, where a kubelet's HTTP request does not reach: it is asked from inside.
startupProbe:
  exec: {command: [python, -I, -S, -c, "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8080, timeout=2); c.request('GET', '/-/ready'); raise SystemExit(c.getresponse().status != 200)"]}
  periodSeconds: 2
  failureThreshold: 60
  timeoutSeconds: 5
livenessProbe:
  httpGet: {path: /healthz, port: admin, scheme: {{ ternary "HTTPS" "HTTP" (not (empty .Values.tls.adminSecret)) }}}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 12
{{- else }}
startupProbe:
  httpGet: {path: /-/ready, port: http, scheme: {{ $scheme }}}
  periodSeconds: 1
  failureThreshold: 90
  timeoutSeconds: 2
readinessProbe:
  httpGet: {path: /-/ready, port: http, scheme: {{ $scheme }}}
  periodSeconds: 5
  failureThreshold: 2
  timeoutSeconds: 2
livenessProbe:
  httpGet: {path: /-/alive, port: http, scheme: {{ $scheme }}}
  periodSeconds: 10
  failureThreshold: 6
  timeoutSeconds: 5
# Endpoints and load balancers forget this pod while it serves on; then SIGTERM drains.
lifecycle:
  preStop: {sleep: {seconds: {{ .Values.preStopSeconds }}}}
{{- end }}
resources: {{- toYaml .Values.resources | nindent 2 }}
securityContext: {{- include "pointsman.container.security" . | nindent 2 }}
volumeMounts:
  - {name: config, mountPath: /etc/pointsman/config, readOnly: true}
  - {name: state, mountPath: /var/lib/pointsman}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.auth.tokensSecret.name }}
  - {name: tokens, mountPath: /etc/pointsman/tokens, readOnly: true}
  {{- end }}
  {{- if .Values.tls.secret }}
  - {name: tls, mountPath: /etc/pointsman/tls, readOnly: true}
  {{- end }}
  {{- if .Values.tls.adminSecret }}
  - {name: admin-tls, mountPath: /etc/pointsman/admin-tls, readOnly: true}
  {{- end }}
  {{- if .Values.audit.keySecret.name }}
  - {name: keys, mountPath: /var/run/pointsman, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "pointsman.volumes" -}}
- name: config
  configMap: {name: {{ include "pointsman.name" . }}}
- name: state
{{- if .Values.persistence.enabled }}
  persistentVolumeClaim: {claimName: {{ .Values.persistence.existingClaim | default (include "pointsman.name" .) }}}
{{- else }}
  emptyDir: {sizeLimit: {{ .Values.scratch }}}
{{- end }}
- name: tmp
  emptyDir: {sizeLimit: 256Mi}
{{- with .Values.auth.tokensSecret }}
{{- if .name }}
- name: tokens
  secret: {secretName: {{ .name }}, defaultMode: 0440, items: [{key: {{ .key }}, path: {{ .key }}}]}
{{- end }}
{{- end }}
{{- with .Values.tls.secret }}
- name: tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.tls.adminSecret }}
- name: admin-tls
  secret: {secretName: {{ . }}, defaultMode: 0440}
{{- end }}
{{- with .Values.audit.keySecret }}
{{- if .name }}
- name: audit
  secret: {secretName: {{ .name }}, defaultMode: 0440, items: [{key: {{ .key }}, path: {{ .key }}}]}
- name: keys
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
{{- end }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}
