/** Tests that need a control plane run by `npm run test:cluster`, which installs one. */
export const clusterTests: { readonly skip: string | false } = {
  skip:
    process.env["ATALANTA_CLUSTER_TESTS"] === undefined &&
    "needs etcd and kube-apiserver: npm run test:cluster",
};
