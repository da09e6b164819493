{{- define "app.name" -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "app.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "app.labels" -}}
{{ include "app.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What the node tells an application of its MEC platform; {} where there is none. */}}
{{- define "app.mep" -}}
{{- $global := .Values.global | default dict -}}
{{- $mep := $global.mep | default dict -}}
{{- if $mep.enabled -}}{{- toJson $mep -}}{{- else -}}{}{{- end -}}
{{- end -}}
