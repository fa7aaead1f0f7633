{{- define "starttls-proxy.labels" -}}
{app.kubernetes.io/name: {{ .Chart.Name }}, app.kubernetes.io/instance: "{{ .Release.Name }}"}
{{- end -}}
