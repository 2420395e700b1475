{{/*
The head of a ValidatingAdmissionPolicy on what operators do, in whatever namespace they run.
Takes a list: root, name.
*/}}
{{- define "sluice.policyHead" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: sluice-operator-{{ index . 1 }}
  labels:
    {{- include "sluice.labelsOf" (list (index . 0) "operator") | nindent 4 }}
  annotations:
    {{- include "sluice.wave" "-2" | nindent 4 }}
    {{- include "sluice.keep" . | nindent 4 }}
{{- end }}

{{/*
Takes a list: API group, resource, operations.
*/}}
{{- define "sluice.policyMatch" -}}
failurePolicy: Fail
matchConstraints:
  matchPolicy: Equivalent
  namespaceSelector: {}
  objectSelector: {}
  resourceRules:
    - apiGroups: [{{ index . 0 | quote }}]
      apiVersions: ["*"]
      resources: [{{ index . 1 }}]
      operations: {{ index . 2 | toJson }}
      scope: Namespaced
matchConditions:
  - name: by-an-operator
    expression: request.userInfo.username.matches('^system:serviceaccount:[^:]+:sluice-operator$')
{{- end }}
