// A custom resource definition for KEDA's ScaledObject, written by us: it knows the fields that the chart writes, with the types and bounds that KEDA 2.20's has, and what it does
// not know is an error where fields are validated strictly.
type Schema = Readonly<Record<string, unknown>>;

const count = (minimum: number): Schema => ({ type: "integer", format: "int32", minimum });

export const kedaCrd: Schema & { readonly metadata: { readonly name: string } } = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "scaledobjects.keda.sh" },
  spec: {
    group: "keda.sh",
    scope: "Namespaced",
    names: {
      kind: "ScaledObject",
      plural: "scaledobjects",
      singular: "scaledobject",
      listKind: "ScaledObjectList",
    },
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        schema: {
          openAPIV3Schema: {
            type: "object",
            required: ["spec"],
            properties: {
              spec: {
                type: "object",
                required: ["scaleTargetRef", "triggers"],
                properties: {
                  scaleTargetRef: {
                    type: "object",
                    required: ["name"],
                    properties: { name: { type: "string", minLength: 1 } },
                  },
                  pollingInterval: count(1),
                  cooldownPeriod: count(0),
                  minReplicaCount: count(0),
                  maxReplicaCount: count(1),
                  advanced: {
                    type: "object",
                    properties: {
                      horizontalPodAutoscalerConfig: {
                        type: "object",
                        properties: {
                          behavior: {
                            type: "object",
                            properties: {
                              scaleDown: {
                                type: "object",
                                properties: {
                                  stabilizationWindowSeconds: { ...count(0), maximum: 3600 },
                                },
                              },
                            },
                          },
                        },
                      },
                    },
                  },
                  triggers: {
                    type: "array",
                    minItems: 1,
                    items: {
                      type: "object",
                      required: ["type", "metadata"],
                      properties: {
                        type: { type: "string", enum: ["nats-jetstream"] },
                        metadata: {
                          type: "object",
                          // KEDA takes any; these are what its scaler reads, all of them text.
                          required: [
                            "natsServerMonitoringEndpoint",
                            "account",
                            "stream",
                            "consumer",
                          ],
                          properties: Object.fromEntries(
                            [
                              "natsServerMonitoringEndpoint",
                              "account",
                              "stream",
                              "consumer",
                              "lagThreshold",
                              "activationLagThreshold",
                              "useHttps",
                            ].map((key) => [key, { type: "string", minLength: 1 }]),
                          ),
                        },
                      },
                    },
                  },
                },
                "x-kubernetes-validations": [
                  {
                    rule: "self.minReplicaCount <= self.maxReplicaCount",
                    message: "minReplicaCount must be less than or equal to maxReplicaCount",
                  },
                ],
              },
            },
          },
        },
      },
    ],
  },
};
