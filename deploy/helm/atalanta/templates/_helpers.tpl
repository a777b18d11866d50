{{- define "atalanta.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}
{{- end }}

{{- define "atalanta.selector" -}}
app.kubernetes.io/name: atalanta
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "atalanta.labels" -}}
{{ include "atalanta.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* What an agent does where workflows run. */}}
{{- define "atalanta.rules" -}}
- apiGroups: [argoproj.io]
  resources: [workflowtasksets]
  verbs: [get, list, watch]
- apiGroups: [argoproj.io]
  resources: [workflowtasksets/status]
  verbs: [patch]
- apiGroups: [argoproj.io]
  resources: [workflows]
  {{- if .Values.artifactGC }}
  # To find those with artifacts to be deleted, and to keep them until that is done.
  verbs: [get, list, watch, patch]
  {{- else }}
  verbs: [get]
  {{- end }}
- apiGroups: [""]
  resources: [events]
  verbs: [create, patch]
{{- if or .Values.webIdentity (eq .Values.authority "service-account") }}
- apiGroups: [""]
  resources: [serviceaccounts/token]
  verbs: [create]
# Which role at a cloud a service account has is in its annotations.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get]
{{- end }}
{{- if eq .Values.authority "agent" }}
- apiGroups: [""]
  resources: [secrets, configmaps]
  verbs: [get]
{{- end }}
{{- end }}

{{- define "atalanta.image" -}}
{{- $name := required "image.repository is needed: a container image with atalanta in it, as `npm run image -- --push NAME` makes it" .Values.image.repository -}}
{{- if .Values.image.digest -}}
{{ $name }}@{{ .Values.image.digest }}
{{- else -}}
{{ $name }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* What front ends and runners have in common. Each gets a dict with root, and component. */}}
{{- define "atalanta.functions.selector" -}}
app.kubernetes.io/name: atalanta-{{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- with .pool }}
atalanta.dev/pool: {{ . }}
{{- end }}
{{- end }}

{{- define "atalanta.functions.nats" -}}
{{- $functions := .Values.functions }}
{{- range $functions.nats.servers }}
- --nats={{ . }}
{{- end }}
{{- if $functions.nats.urlSecret }}
- --nats=$(ATALANTA_NATS_URL)
{{- end }}
{{- if $functions.nats.credentialsSecret }}
- --nats-creds=/etc/atalanta-nats/nats.creds
{{- end }}
{{- if $functions.nats.authoritySecret }}
- --nats-ca=/etc/atalanta-authority/ca.crt
{{- end }}
- --nats-replicas={{ $functions.nats.replicas }}
- --silence={{ $functions.nats.silence }}
- --deliveries={{ $functions.nats.deliveries }}
{{- end }}

{{- define "atalanta.functions.environment" -}}
- { name: ATALANTA_HOME, value: /data }
- { name: TMPDIR, value: /data/tmp }
{{- with .Values.functions.nats.urlSecret }}
- name: ATALANTA_NATS_URL
  valueFrom: { secretKeyRef: { name: {{ . }}, key: url } }
{{- end }}
{{- if .Values.functions.registrySecret }}
- { name: DOCKER_CONFIG, value: /etc/atalanta-registry }
{{- end }}
{{- with .Values.otlpEndpoint }}
- { name: OTEL_EXPORTER_OTLP_ENDPOINT, value: {{ . | quote }} }
{{- end }}
{{- range $variable, $value := .Values.environment }}
- { name: {{ $variable | quote }}, value: {{ $value | quote }} }
{{- end }}
{{- end }}

{{- define "atalanta.functions.mounts" -}}
{{- $functions := .Values.functions }}
- { name: data, mountPath: /data }
- { name: data, mountPath: /data/tmp, subPath: tmp }
- { name: config, mountPath: /etc/atalanta, readOnly: true }
{{- if $functions.nats.credentialsSecret }}
- { name: nats, mountPath: /etc/atalanta-nats, readOnly: true }
{{- end }}
{{- if $functions.nats.authoritySecret }}
- { name: authority, mountPath: /etc/atalanta-authority, readOnly: true }
{{- end }}
{{- if $functions.registrySecret }}
- { name: registry, mountPath: /etc/atalanta-registry, readOnly: true }
{{- end }}
{{- end }}

{{- define "atalanta.functions.volumes" -}}
{{- $functions := .root.Values.functions }}
- name: data
  emptyDir: { sizeLimit: {{ .disk }} }
- name: config
  configMap: { name: {{ include "atalanta.name" .root }} }
{{- with $functions.nats.credentialsSecret }}
- name: nats
  secret: { secretName: {{ . }}, items: [{ key: nats.creds, path: nats.creds }] }
{{- end }}
{{- with $functions.nats.authoritySecret }}
- name: authority
  secret: { secretName: {{ . }}, items: [{ key: ca.crt, path: ca.crt }] }
{{- end }}
{{- with $functions.registrySecret }}
- name: registry
  secret: { secretName: {{ . }}, items: [{ key: .dockerconfigjson, path: config.json }] }
{{- end }}
{{- end }}

{{/* The pod around one container. Guests are strangers, so it has no token of the API server. */}}
{{- define "atalanta.functions.pod" -}}
serviceAccountName: {{ include "atalanta.name" .root }}-functions
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .runtimeClassName }}
runtimeClassName: {{ . }}
{{- end }}
{{- with .placed.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "atalanta.functions.selector" $ | nindent 8 }}
  {{- end }}
{{- with .placed.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .placed.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .placed.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "atalanta.functions.container" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end }}

{{/* An autoscaler by processor time. */}}
{{- define "atalanta.functions.hpa" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "atalanta.labels" .root | nindent 4 }}
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: {{ .name }} }
  minReplicas: {{ .scaling.min | default 1 }}
  maxReplicas: {{ .scaling.max }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target: { type: Utilization, averageUtilization: {{ .scaling.cpuPercent | default 70 }} }
  behavior:
    scaleDown:
      stabilizationWindowSeconds: {{ hasKey .scaling "calmSeconds" | ternary .scaling.calmSeconds 300 }}
{{- end }}

{{- define "atalanta.functions.checkScaling" -}}
{{- $least := hasKey .scaling "min" | ternary .scaling.min (eq .scaling.by "cpu" | ternary 1 0) -}}
{{- if gt (int $least) (int .scaling.max) -}}
{{- fail (printf "%s.scaling: min %d is more than max %d" .where (int $least) (int .scaling.max)) -}}
{{- end -}}
{{- if eq .scaling.by "cpu" -}}
{{- $requests := .resources.requests | default dict -}}
{{- if not (hasKey $requests "cpu") -}}
{{- fail (printf "%s.scaling.by is cpu, which is measured against resources.requests.cpu, and there is none" .where) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "atalanta.functions.egress" -}}
{{- with .Values.functions.egress -}}
egress:
  - ports:
      - { port: 53, protocol: UDP }
      - { port: 53, protocol: TCP }
  - ports:
      {{- range $server := $.Values.functions.nats.servers }}
      - { port: {{ regexFind ":[0-9]+$" $server | trimPrefix ":" | default "4222" }} }
      {{- end }}
      {{- if $.Values.functions.nats.urlSecret }}
      - { port: 4222 }
      {{- end }}
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end }}
