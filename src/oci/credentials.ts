/** How a user is known to a registry. */
export type Credential =
  | { readonly kind: "basic"; readonly username: string; readonly password: string }
  /** A refresh token, for which a token service gives tokens. */
  | { readonly kind: "identity-token"; readonly token: string }
  /** Goes to the registry as it is. */
  | { readonly kind: "registry-token"; readonly token: string };

/** Finds who we are for a repository; undefined for nobody. Called again when a registry no longer takes what it gave before. */
export interface Credentials {
  find(
    where: { readonly registry: string; readonly repository: string },
    options: { readonly signal: AbortSignal },
  ): Promise<Credential | undefined>;
}

/** Nobody anywhere. */
export const anonymous: Credentials = { find: async () => undefined };

/** Asks one after the other; the first that knows somebody counts. */
export function firstOf(sources: readonly Credentials[]): Credentials {
  return {
    async find(where, options) {
      for (const source of sources) {
        const found = await source.find(where, options);
        if (found) return found;
      }
      return undefined;
    },
  };
}
