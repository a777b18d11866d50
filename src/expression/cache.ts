const mostEntries = 500;
/** UTF-16 units of all the texts together; what is made of a text grows with it. */
const mostLength = 262_144;

/** Remembers what was made of the last few hundred texts; the one used longest ago goes first. */
export class Cache<Made> {
  readonly #made = new Map<string, Made>();
  #length = 0;
  readonly #make: (text: string) => Made;

  constructor(make: (text: string) => Made) {
    this.#make = make;
  }

  get(text: string): Made {
    let made = this.#made.get(text);
    if (made === undefined) {
      made = this.#make(text);
      this.#length += text.length;
      for (const oldest of this.#made.keys()) {
        if (this.#made.size < mostEntries && this.#length <= mostLength) break;
        this.#made.delete(oldest);
        this.#length -= oldest.length;
      }
    } else {
      this.#made.delete(text);
    }
    this.#made.set(text, made);
    return made;
  }
}
