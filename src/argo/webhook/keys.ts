/** A certificate that signs others: PEM texts. */
export interface Authority {
  readonly certificate: string;
  readonly key: string;
}

/** Everything that is kept: PEM texts. */
export interface Keys {
  /** The newest first. */
  readonly authorities: readonly Authority[];
  readonly certificate: string;
  readonly key: string;
}

/** What API servers have to trust. */
export function bundleOf({ authorities }: Keys): string {
  return authorities.map(({ certificate }) => certificate.trimEnd()).join("\n");
}
