import type { Budget } from "../budget.ts";
import { fault } from "../failure.ts";

const divisionDigits = 16;

/** A decimal number, so that 0.1 and 0.2 are 0.3: sprig's `addf` and its like count so. */
export class Decimal {
  readonly #digits: bigint;
  /** How many of the digits stand behind the point. */
  readonly #scale: number;

  private constructor(digits: bigint, scale: number) {
    this.#digits = digits;
    this.#scale = scale;
  }

  static of(value: number): Decimal {
    if (!Number.isFinite(value)) throw fault("the number is infinite, or none");
    const [mantissa = "0", exponent = "0"] = value.toExponential().split("e");
    const [whole = "0", fraction = ""] = mantissa.split(".");
    return new Decimal(BigInt(whole + fraction), fraction.length - Number(exponent)).#normal();
  }

  #normal(): Decimal {
    return this.#scale < 0 ? new Decimal(this.#digits * 10n ** BigInt(-this.#scale), 0) : this;
  }

  #at(scale: number): bigint {
    return this.#digits * 10n ** BigInt(scale - this.#scale);
  }

  plus(other: Decimal): Decimal {
    const scale = Math.max(this.#scale, other.#scale);
    return new Decimal(this.#at(scale) + other.#at(scale), scale);
  }

  minus(other: Decimal): Decimal {
    const scale = Math.max(this.#scale, other.#scale);
    return new Decimal(this.#at(scale) - other.#at(scale), scale);
  }

  /** The digits add up with each factor, so they are counted. */
  times(other: Decimal, budget: Budget): Decimal {
    const scale = this.#scale + other.#scale;
    budget.step(1 + scale);
    budget.allocate(scale + this.#digits.toString(16).length);
    return new Decimal(this.#digits * other.#digits, scale);
  }

  /** Sixteen digits behind the point, rounded half away from zero. */
  by(other: Decimal, budget: Budget): Decimal {
    if (other.#digits === 0n) throw fault("decimal division by 0");
    budget.step(1 + this.#scale + other.#scale);
    const numerator = this.#digits * 10n ** BigInt(divisionDigits + other.#scale);
    const denominator = other.#digits * 10n ** BigInt(this.#scale);
    const size = (value: bigint): bigint => (value < 0n ? -value : value);
    const rounded = (2n * size(numerator) + size(denominator)) / (2n * size(denominator));
    return new Decimal(numerator < 0n === denominator < 0n ? rounded : -rounded, divisionDigits);
  }

  toNumber(): number {
    const negative = this.#digits < 0n;
    const digits = String(negative ? -this.#digits : this.#digits);
    return Number(`${negative ? "-" : ""}${digits}e${-this.#scale}`);
  }
}
