{{/* The name of the release's objects. */}}
{{- define "streamer.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The labels by which a part is selected: (list $ "front"). */}}
{{- define "streamer.selector" -}}
app.kubernetes.io/name: streamer
app.kubernetes.io/instance: {{ (index . 0).Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* All labels of a part: (list $ "front"). */}}
{{- define "streamer.labels" -}}
{{ include "streamer.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | quote }}
{{- end -}}

{{/* The image of a part: (list $ "front"), (list $ "cuda"). */}}
{{- define "streamer.image" -}}
{{- $image := (index . 0).Values.image -}}
{{- printf "%s:%s-%s" $image.repository ($image.tag | default (index . 0).Chart.AppVersion) (index . 1) | quote -}}
{{- end -}}

{{/* Settings as variables, each by its name in docs/operations.md. A whole number stays one: Helm reads it as a float. */}}
{{- define "streamer.options" -}}
{{- range $name, $value := . }}
- name: {{ printf "STREAMER_%s" (upper $name) }}
  value: {{ kindIs "string" $value | ternary $value ($value | toJson) | quote }}
{{- end }}
{{- end -}}

{{/* The addresses of all workers that there may be. */}}
{{- define "streamer.workers" -}}
{{- $worker := .Values.worker -}}
{{- $name := include "streamer.name" . -}}
{{- $number := $worker.autoscaling.enabled | ternary $worker.autoscaling.maxReplicas $worker.replicas | int -}}
{{- $addresses := list -}}
{{- range $ordinal := until $number -}}
{{- $addresses = append $addresses (printf "ws://%s-worker-%d.%s-worker.%s.svc:8766" $name $ordinal $name $.Release.Namespace) -}}
{{- end -}}
{{- join "," $addresses -}}
{{- end -}}

{{/* What a pod may do. */}}
{{- define "streamer.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* What a container may do. */}}
{{- define "streamer.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Pods of a part are spread over zones and machines: (list $ "front"). */}}
{{- define "streamer.spread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels: {{- include "streamer.selector" $ | nindent 6 }}
{{- end }}
{{- end -}}

{{/* A secret as a source of a projected volume: (list .Values.secrets.apiKeys "keys.toml"). */}}
{{- define "streamer.secret" -}}
- secret:
    name: {{ (index . 0).name }}
    items: [{key: {{ (index . 0).key | quote }}, path: {{ index . 1 }}}]
{{- end -}}
