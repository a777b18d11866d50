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
