/** Tests that need a NATS server run by `npm run test:remote`, which builds one. */
export const remoteTests: { readonly skip: string | false } = {
  skip:
    process.env["ATALANTA_REMOTE_TESTS"] === undefined && "needs nats-server: npm run test:remote",
};
