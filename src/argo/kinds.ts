import type { Kind } from "../kubernetes/mod.ts";

const argo = { group: "argoproj.io", version: "v1alpha1", namespaced: true };

export const workflows: Kind = { ...argo, plural: "workflows" };
export const taskSets: Kind = { ...argo, plural: "workflowtasksets" };
