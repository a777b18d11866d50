const entries = 500;

/** Remembers what was made of the last few hundred texts; the one used longest ago goes first. */
export class Cache<Made> {
  readonly #made = new Map<string, Made>();
  readonly #make: (text: string) => Made;

  constructor(make: (text: string) => Made) {
    this.#make = make;
  }

  get(text: string): Made {
    let made = this.#made.get(text);
    if (made === undefined) {
      made = this.#make(text);
      const [oldest] = this.#made.keys();
      if (this.#made.size >= entries && oldest !== undefined) this.#made.delete(oldest);
    } else {
      this.#made.delete(text);
    }
    this.#made.set(text, made);
    return made;
  }
}
